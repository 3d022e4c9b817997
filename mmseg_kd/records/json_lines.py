"""Files of one JSON record a line, as a run appends to while it may be killed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmseg_kd.checkpoints import atomic_path, remove_file, retry_locked

# Of a whole number; those of more are exact in no float, and Python refuses 4,300.
MOST_DIGITS = 16


def append_json_line(file: str | Path, record: Mapping[str, Any]) -> None:
    """Append a record to a file of one JSON object a line."""
    with retry_locked(Path(file).open, 'a', encoding='utf-8') as opened:
        opened.write(_line(record))


def write_json_lines(file: str | Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Replace a file by one with these records, or remove it where there are none."""
    lines = ''.join(map(_line, records))
    if not lines:
        remove_file(file)
        return
    with atomic_path(file) as partial:
        partial.write_text(lines, encoding='utf-8')


def read_json_lines(file: str | Path) -> tuple[list[dict[str, Any]], list[int]]:
    """Read the records of a file.

    Args:
        file: One JSON object a line; a file that is missing has none.

    Returns:
        The records in order, and the numbers, from 1, of lines that are none. A last line cut
        short, as a killed run leaves it, is neither; a file of nothing else is broken.
    """
    file = Path(file)
    if not file.is_file():
        return [], []
    lines = file.read_text(encoding='utf-8', errors='replace').splitlines()
    records, broken = [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = read_json(line)
        except ValueError:
            if number < len(lines) or number == 1:
                broken.append(number)
            continue
        if isinstance(record, dict):
            records.append(record)
        else:
            broken.append(number)
    return records, broken


def read_json(text: str) -> Any:
    """Read JSON of which a reader may rely on no more than that it is JSON.

    Whole numbers of more digits than a float can hold become infinite.

    Raises:
        ValueError: It is no JSON, or nested more deeply than Python reads.
    """
    try:
        return json.loads(text, parse_int=_whole)
    except RecursionError as error:
        raise ValueError('nested too deeply') from error


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) < MOST_DIGITS else float(digits)


def is_number(value: Any) -> bool:
    """Tell whether a value read from JSON is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, allow_nan=False) + '\n'
