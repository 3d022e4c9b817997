"""Runs of other programs, read from a table."""

from __future__ import annotations

import csv
import itertools
import math
import re
from pathlib import Path

from mmseg_kd.errors import UserError
from mmseg_kd.records.run_record import RunRecord
from mmseg_kd.text_files import read_text

SUFFIXES = ('.csv', '.md', '.markdown', '.txt')
# Name of a metric by lower-case heading. The mIoU of some classes, such as mIoU11, is not here.
NAMES = {name.lower(): name for name in ('iteration', 'mIoU', 'mAcc', 'aAcc', 'lr')}
NAMES |= dict.fromkeys(('iterations', 'iter', 'step'), 'iteration')
NAMES |= dict.fromkeys(('learning rate', 'learning_rate'), 'lr')
NOTHING = ('', '-', '–', '—')  # noqa: RUF001


def read_outside_log(file: str | Path) -> RunRecord:
    """Read a CSV or Markdown table with one row per evaluation.

    Args:
        file: Has the columns `iteration` and `mIoU`, and optionally `mAcc`, `aAcc`, `lr` and
            `mIoU11`, in any order and case. Metrics are in percent, with or without the sign.
            An empty cell or `-` is an unknown value. Other columns are ignored.

    Returns:
        The run, named after the file.

    Raises:
        UserError: The file or a column is missing, or a cell is not a number; names the line.
    """
    file = Path(file)
    names: list[str | None] = []
    evaluations: dict[int, dict[str, float]] = {}
    for number, line in _table(read_text(file).splitlines()):
        try:
            cells = _cells(line)
            if not names:
                names = _names(cells)
            # Markdown has a line of dashes below the headings.
            elif not all(re.fullmatch(r':?-+:?', cell) for cell in cells):
                row = _evaluation(names, cells)
                if row['iteration'] in evaluations:
                    raise ValueError(f'iteration {row["iteration"]} is there twice')
                evaluations[row['iteration']] = row
        except (ValueError, csv.Error) as error:
            raise UserError(f'{file}, line {number}: {error}') from error
    if not names:
        raise UserError(f'{file} holds no table; write CSV or Markdown with a line of headings')
    if not evaluations:
        raise UserError(f'{file}: the table has no rows')
    return RunRecord(file.stem, file, evaluations=[evaluations[i] for i in sorted(evaluations)])


def _table(lines: list[str]) -> list[tuple[int, str]]:
    """Return number and text of each line of the first table."""
    numbered = [(number, line.strip()) for number, line in enumerate(lines, 1)]
    if any(line.startswith('|') for _, line in numbered):
        numbered = itertools.dropwhile(lambda row: not row[1].startswith('|'), numbered)
        numbered = itertools.takewhile(lambda row: row[1].startswith('|'), numbered)
    return [(number, line) for number, line in numbered if line]


def _cells(line: str) -> list[str]:
    delimiter = next((d for d in ',;\t' if d in line), ',')
    if line.startswith('|'):
        line, delimiter = line.strip('|'), '|'
    (cells,) = csv.reader([line], delimiter=delimiter)
    return [cell.strip().strip('*`') for cell in cells]


def _names(headings: list[str]) -> list[str | None]:
    names = [_name(heading) for heading in headings]
    for needed in ('iteration', 'mIoU'):
        if names.count(needed) != 1:
            found = ', '.join(filter(None, headings))
            raise ValueError(f'the table needs one column {needed}; it has {found}')
    return names


def _name(heading: str) -> str | None:
    text = re.sub(r'\s*(\(%\)|\[%\]|%)', '', heading).strip().lower()
    if re.fullmatch(r'miou\d+', text):
        return 'mIoU' + text[4:]
    return NAMES.get(text)


def _evaluation(names: list[str | None], cells: list[str]) -> dict[str, float]:
    if len(cells) != len(names):
        raise ValueError(f'{len(cells)} cells under {len(names)} headings')
    pairs = zip(names, cells, strict=True)
    row = {n: _number(n, cell) for n, cell in pairs if n is not None and cell not in NOTHING}
    if 'iteration' not in row:
        raise ValueError('the iteration is missing')
    if row['iteration'] < 0 or not row['iteration'].is_integer():
        raise ValueError(f'the iteration {row["iteration"]} is not a whole number')
    return row | {'iteration': int(row['iteration'])}


def _number(name: str, cell: str) -> float:
    text = cell.rstrip('%').strip()
    if name == 'iteration':
        # 4,000 and 4k, as people write them.
        text = re.sub(r'(?<=\d)[, _](?=\d{3})', '', text)
        text = re.sub(r'k$', 'e3', text, flags=re.IGNORECASE)
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f'{name} {cell!r} is not a number') from None
    if not math.isfinite(value):
        raise ValueError(f'{name} {cell!r} is not finite')
    if name not in ('iteration', 'lr') and not 0 <= value <= 100:
        raise ValueError(f'{name} {cell!r} is not a percentage from 0 to 100')
    return value
