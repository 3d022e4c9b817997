"""The one reader of `scalars.json`, the numbers that a run logged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from mmseg_kd.errors import UserError
from mmseg_kd.records.json_lines import read_json_lines

# mmengine logs these with an evaluation too; they are not metrics.
NO_METRICS = ('step', 'iter', 'epoch', 'time', 'data_time', 'memory')

Row = dict[str, Any]
Curve = dict[int, float]


def files_of_starts(work_dir: Path) -> list[Path]:
    """List the `scalars.json` of each start of a run in order; empty if nothing was logged."""
    # The folder of a start is named after its date and time.
    return sorted(work_dir.glob('*/vis_data/scalars.json'))


def scalar_files(source: str | Path) -> list[Path]:
    """Find the `scalars.json` of each start of a run, in order.

    Args:
        source: One of these files, a work_dir, or the folder of one start.

    Raises:
        UserError: There is none.
    """
    source = Path(source)
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise UserError(f'{source} does not exist; name a work_dir or a scalars.json')
    for pattern in ('scalars.json', 'vis_data/scalars.json', '*/vis_data/scalars.json'):
        if files := sorted(source.glob(pattern)):
            return files
    if any(source.glob('*.log.json')):
        raise UserError(
            f'{source} is a work_dir of mmsegmentation 0.x, whose logs are not read; measure its '
            'checkpoint with tools/test.py'
        )
    raise UserError(f'{source} holds no */vis_data/scalars.json; name the work_dir of a run')


def read_rows(files: Iterable[Path]) -> tuple[list[Row], dict[Path, list[int]]]:
    """Read the rows that a run logged, in order. A last line that a kill cut short is skipped.

    Returns:
        The rows that have a step, and by file the numbers of the lines that are not JSON records.
    """
    rows, broken = [], {}
    for file in files:
        records, lines = read_json_lines(file)
        rows += [row for row in records if type(row.get('step')) is int]
        if lines:
            broken[file] = lines
    return rows, broken


def read_curves(source: str | Path) -> dict[str, Curve]:
    """Read a curve for each name that a run logged; at equal steps the later start counts.

    Args:
        source: As for `scalar_files`.

    Returns:
        Value by iteration by name (`loss`, `mIoU`, `lr`, ...), iterations in ascending order.

    Raises:
        UserError: There is no such file, a line in it is broken, or it holds no number.
    """
    files = scalar_files(source)
    rows, broken = read_rows(files)
    for file, lines in broken.items():
        raise UserError(f'{file}, line {lines[0]}: is not a JSON record of a run')
    curves: dict[str, Curve] = defaultdict(dict)
    for row in rows:
        # An evaluation's own times would hide those of training.
        left_out = ('step', 'iter') if 'iter' in row else NO_METRICS
        for name, value in row.items():
            if is_value(value) and name not in left_out:
                curves[name][row['step']] = value
    if not curves:
        raise UserError(f'{files[-1]}: holds no logged number; name the scalars.json of a run')
    return {name: dict(sorted(curve.items())) for name, curve in curves.items()}


def split_rows(rows: Iterable[Row]) -> tuple[list[dict[str, float]], dict[str, np.ndarray]]:
    """Separate evaluations from training; of two rows of one step and kind the later one counts.

    Returns:
        The evaluations by iteration, each with `iteration` and the metrics; and the columns of
        training by name, among them `step`, NaN where a row has no value.
    """
    training: dict[int, Row] = {}
    evaluations: dict[int, dict[str, float]] = {}
    for row in rows:
        step, values = row['step'], {name: value for name, value in row.items() if is_value(value)}
        if any(name.startswith('mIoU') for name in values):
            metrics = {k: v for k, v in values.items() if k not in NO_METRICS}
            evaluations[step] = {'iteration': step, **metrics}
        elif 'loss' in values:
            training[step] = values
    trained = [values for _, values in sorted(training.items())]
    names = dict.fromkeys(name for values in trained for name in values)
    columns = {name: np.array([row.get(name, np.nan) for row in trained], float) for name in names}
    return [row for _, row in sorted(evaluations.items())], columns


def is_value(value: Any) -> bool:
    """Return whether a logged value is a number, which may be infinite or NaN."""
    return type(value) in (float, int)
