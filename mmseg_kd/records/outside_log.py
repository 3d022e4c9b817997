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
    rows = _rows(read_text(file).splitlines())
    if not rows:
        raise UserError(f'{file} holds no table; write CSV or Markdown with a line of headings')
    (heading_line, headings), *rows = rows
    names = [_name(heading) for heading in headings]
    for needed in ('iteration', 'mIoU'):
        if names.count(needed) != 1:
            found = f'one column {needed}; it has {", ".join(filter(None, headings))}'
            raise UserError(f'{file}, line {heading_line}: the table needs {found}')
    evaluations: dict[int, dict[str, float]] = {}
    for line, cells in rows:
        try:
            row = _evaluation(names, cells)
            if row['iteration'] in evaluations:
                raise ValueError(f'iteration {row["iteration"]} is there twice')
        except ValueError as error:
            raise UserError(f'{file}, line {line}: {error}') from error
        evaluations[row['iteration']] = row
    if not evaluations:
        raise UserError(f'{file}: the table has no rows')
    return RunRecord(file.stem, file, evaluations=[evaluations[i] for i in sorted(evaluations)])


def _rows(lines: list[str]) -> list[tuple[int, list[str]]]:
    """Return line number and cells of each row of the first table."""
    numbered = [(number, line.strip()) for number, line in enumerate(lines, 1)]
    if any(line.startswith('|') for _, line in numbered):
        numbered = itertools.dropwhile(lambda row: not row[1].startswith('|'), numbered)
        numbered = itertools.takewhile(lambda row: row[1].startswith('|'), numbered)
        numbered = [(number, line.strip('|')) for number, line in numbered]
    table = [row for row in numbered if row[1]]
    delimiter = next((d for d in '|,;\t' if table and d in table[0][1]), ',')
    parsed = csv.reader([line for _, line in table], delimiter=delimiter)
    rows = [
        (number, [cell.strip().strip('*`') for cell in cells])
        for (number, _), cells in zip(table, parsed, strict=False)
    ]
    # Markdown has a line of dashes below the headings.
    return [row for row in rows if not all(re.fullmatch(r':?-+:?', cell) for cell in row[1])]


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
        raise ValueError(f'the iteration {row["iteration"]} is no whole number')
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
        raise ValueError(f'{name} {cell!r} is no number') from None
    if not math.isfinite(value):
        raise ValueError(f'{name} {cell!r} is not finite')
    if name not in ('iteration', 'lr') and not 0 <= value <= 100:
        raise ValueError(f'{name} {cell!r} is no percentage from 0 to 100')
    return value
