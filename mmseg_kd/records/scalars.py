"""The numbers that a run logged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmseg_kd.errors import UserError
from mmseg_kd.records.json_lines import read_json_lines

# Of an evaluation; those of training have the same names and are what one looks for.
NOT_OF_EVALUATION = ('time', 'data_time', 'memory')

Curve = dict[int, float]


def read_curves(source: str | Path) -> dict[str, Curve]:
    """Read what a run logged, as a curve for each name.

    A run that was resumed has a file for each start; at equal iterations the later start counts.
    A last line that is cut short, as a killed run leaves it, is skipped.

    Args:
        source: A `scalars.json`, a work_dir, or the folder of one of its starts.

    Returns:
        Value by iteration by name (`loss`, `mIoU`, `lr`, ...), iterations in ascending order.

    Raises:
        UserError: There is no such file, it has another content, or a line within it is broken.
    """
    curves: dict[str, Curve] = defaultdict(dict)
    files = scalar_files(source)
    for file in files:
        for row in _rows(file):
            trained = 'iter' in row
            for name, value in row.items():
                number = isinstance(value, int | float) and not isinstance(value, bool)
                if number and (trained or name not in NOT_OF_EVALUATION):
                    curves[name][row['step']] = value
    for name in ('step', 'iter'):
        curves.pop(name, None)
    if not curves:
        raise UserError(f'{files[-1]}: holds no logged number; name the scalars.json of a run')
    return {name: dict(sorted(curve.items())) for name, curve in curves.items()}


def scalar_files(source: str | Path) -> list[Path]:
    """Find the `scalars.json` of a run, one a start, in the order of the starts.

    Raises:
        UserError: There is none.
    """
    source = Path(source)
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise UserError(f'{source} does not exist; name a work_dir or a scalars.json')
    for pattern in ('scalars.json', 'vis_data/scalars.json'):
        if files := list(source.glob(pattern)):
            return files
    if files := files_of_starts(source):
        return files
    raise UserError(f'{source} holds no */vis_data/scalars.json; name the work_dir of a run')


def files_of_starts(work_dir: Path) -> list[Path]:
    """The `scalars.json` of each start of a run, in their order; none where nothing was logged."""
    # A start is named after its date and time.
    return sorted(work_dir.glob('*/vis_data/scalars.json'))


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    rows, broken = read_json_lines(file)
    if broken:
        raise UserError(f'{file}, line {broken[0]}: is no JSON record of a run')
    for row in rows:
        if isinstance(row.get('step'), int):
            yield row
