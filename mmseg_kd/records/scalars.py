"""Reads the numbers that a run logged: `scalars.json`, or `*.log.json` of mmseg 0.x."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mmseg_kd.errors import UserError
from mmseg_kd.records.json_lines import NUMBER, is_number, read_json_lines
from mmseg_kd.records.literal_config import parse_literals

# The log of a training with mmsegmentation 0.x, in its work_dir.
SUFFIX = '.log.json'
# Keys in the line of an evaluation that are not metrics.
NO_METRICS = ('mode', 'step', 'iter', 'epoch', 'lr', 'time', 'data_time', 'memory')

Row = dict[str, Any]
Curve = dict[int, float]


def files_of_starts(work_dir: Path) -> list[Path]:
    """List the `scalars.json` of each start of a run in order; empty if nothing was logged."""
    # The folder of a start is named after its date and time.
    return sorted(work_dir.glob('*/vis_data/scalars.json'))


def scalar_files(source: str | Path) -> list[Path]:
    """Find the `scalars.json` of each start of a run, in order, or the `*.log.json` of mmseg 0.x.

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
    patterns = 'scalars.json', 'vis_data/scalars.json', '*/vis_data/scalars.json', f'*{SUFFIX}'
    for pattern in patterns:
        if files := sorted(source.glob(pattern)):
            return files
    files = f'*/vis_data/scalars.json, nor the *{SUFFIX} of mmsegmentation 0.x'
    raise UserError(f'{source} holds no {files}; name the work_dir of a run')


def read_rows(files: Iterable[Path]) -> tuple[list[Row], dict[Path, list[int]]]:
    """Read the rows that a run logged, in order. A last line that a kill cut short is skipped.

    Returns:
        The rows that have a step, and by file the numbers of the lines that are not JSON records.
    """
    rows, broken = [], {}
    for file in files:
        records, lines = read_json_lines(file)
        if file.name.endswith(SUFFIX):
            records = _rows_of_log(records)
        records = [row for row in records if type(row.get('step')) is int]
        # A start from an earlier checkpoint replaces what came after it.
        begin = min((row['step'] for row in records if 'loss' in row), default=math.inf)
        rows = [row for row in rows if row['step'] < begin] + records
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
        # An evaluation logs times too, which would replace those of training.
        left_out = ('step', 'iter') if 'iter' in row else NO_METRICS
        for name, value in row.items():
            if type(value) in NUMBER and name not in left_out:
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
        # Unlike in `is_number`, a logged number may be infinite or NaN.
        step, values = row['step'], {k: v for k, v in row.items() if type(v) in NUMBER}
        if any(name.startswith('mIoU') for name in values):
            # 0.x logs scores of the classes too, such as IoU.road.
            metrics = {k: v for k, v in values.items() if k not in NO_METRICS and '.' not in k}
            evaluations[step] = {'iteration': step, **metrics}
        elif 'loss' in values:
            training[step] = values
    trained = [values for _, values in sorted(training.items())]
    names = dict.fromkeys(name for values in trained for name in values)
    columns = {name: np.array([row.get(name, np.nan) for row in trained], float) for name in names}
    return [row for _, row in sorted(evaluations.items())], columns


def _rows_of_log(records: Iterable[Row]) -> Iterator[Row]:
    """Convert the lines of a 0.x log to those of `scalars.json`: with a step, metrics in percent.

    Early versions log the iteration of an evaluation as `iter`, later ones the number of images.
    It counts as the iteration if it lies within one log interval after the last line of training.
    """
    last = interval = 0
    for record in records:
        iteration = record.get('iter')
        if type(iteration) is not int:
            continue
        if record.get('mode') == 'train':
            interval, last = abs(iteration - last), iteration
            yield record | {'step': iteration}
        elif record.get('mode') == 'val':
            metrics = {k: v for k, v in record.items() if k not in NO_METRICS and is_number(v)}
            step = iteration if last < iteration <= last + interval else last
            yield {name: round(100 * v, 4) for name, v in metrics.items()} | {'step': step}


def config_of_log(file: Path) -> dict[str, Any]:
    """Return the config in the first line of a 0.x log, with the keys that a report reads.

    Raises:
        ValueError: It is not Python.
    """
    head = next(iter(read_json_lines(file)[0]), {})
    config = parse_literals(str(head.get('config', '')))
    runner = config.get('runner')
    length = runner.get('max_iters') if isinstance(runner, dict) else config.get('total_iters')
    seed = head.get('seed', config.pop('seed', None))
    return config | {'train_cfg': {'max_iters': length}, 'randomness': {'seed': seed}}
