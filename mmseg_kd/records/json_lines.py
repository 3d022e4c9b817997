"""Files with one JSON record per line, which a run appends to and may be killed while it does."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmseg_kd.checkpoints import atomic_path, remove_file, retry_locked

# Digits of a whole number. A float cannot hold more exactly, and Python refuses 4,300 or more.
MOST_DIGITS = 16


def append_json_line(file: str | Path, record: Mapping[str, Any]) -> None:
    """Append a record to a file with one JSON object per line."""
    with retry_locked(Path(file).open, 'a', encoding='utf-8') as opened:
        opened.write(_line(record))


def write_json_lines(file: str | Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Replace the records of a file; without records the file is removed."""
    lines = ''.join(map(_line, records))
    if not lines:
        remove_file(file)
        return
    with atomic_path(file) as partial:
        partial.write_text(lines, encoding='utf-8')


def read_json_lines(file: str | Path) -> tuple[list[dict[str, Any]], list[int]]:
    """Read the records of a file.

    Args:
        file: One JSON object per line; a missing file has no records.

    Returns:
        The records in order, and the numbers, from 1, of lines that are not records. The last
        line may be cut short, as after a kill, and is then ignored unless it is the only one.
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
    """Read JSON from a file that may be damaged.

    Whole numbers with more digits than a float can hold become infinite.

    Raises:
        ValueError: It is not JSON, or nested more deeply than Python reads.
    """
    try:
        return json.loads(text, parse_int=_whole)
    except RecursionError as error:
        raise ValueError('nested too deeply') from error


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) < MOST_DIGITS else float(digits)


def is_number(value: Any) -> bool:
    """Return whether a value read from JSON is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, allow_nan=False) + '\n'
