"""Files with one JSON record per line, and checks of values read from JSON."""

import errno
import json
import math
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import NoneType
from typing import Any

from mmseg_kd.checkpoints.atomic import remove_file, write_text
from mmseg_kd.paths import retry_locked

# Forms for `fits`.
NUMBER = (int, float)
OPTIONAL_NUMBER = (*NUMBER, NoneType)
OPTIONAL_TEXT = (str, NoneType)


def append_json_line(file: str | Path, record: Mapping[str, Any]) -> None:
    """Append a record to a file with one JSON object per line."""
    append_line(file, _line(record))


def append_line(file: str | Path, line: str) -> None:
    """Append a whole line to a file, or nothing; OSError if the disk is full."""
    data = line.encode()
    with retry_locked(Path(file).open, 'ab', buffering=0) as opened:
        end = opened.tell()
        if opened.write(data) < len(data):
            # A later line would be joined to the part that has been written.
            opened.truncate(end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))


def write_json_lines(file: str | Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Replace the records of a file; without records the file is removed."""
    lines = ''.join(map(_line, records))
    if lines:
        write_text(file, lines)
    else:
        remove_file(file)


def read_json_lines(file: str | Path) -> tuple[list[dict[str, Any]], list[int]]:
    """Read the records of a file.

    Args:
        file: One JSON object per line; a missing file has no records.

    Returns:
        The records in order, and the numbers (from 1) of the lines that are not records. A broken
        last line, as after a kill, is ignored unless it is the only line.
    """
    file = Path(file)
    lines = file.read_text('utf-8', errors='replace').splitlines() if file.is_file() else []
    records, broken = [], []
    for number, line in enumerate(lines, start=1):
        record = None
        with suppress(ValueError):
            record = read_json(line)
        if isinstance(record, dict):
            records.append(record)
        elif line.strip() and (number < len(lines) or number == 1):
            broken.append(number)
    return records, broken


def read_json(text: str) -> Any:
    """Read JSON from a file that may be damaged.

    Raises:
        ValueError: It is not JSON, or it is nested too deeply for Python.
    """
    try:
        # NumPy has no integers of this length, so a long one becomes a float.
        return json.loads(text, parse_int=lambda x: int(x) if len(x) < 16 else float(x))
    except RecursionError as error:
        raise ValueError('nested too deeply') from error


def read_json_file(file: Path) -> Any:
    """Return the content of a JSON file; None if it is missing or damaged."""
    with suppress(OSError, ValueError):
        return read_json(file.read_text(encoding='utf-8'))
    return None


def is_number(value: Any) -> bool:
    """Return whether a value read from JSON is a finite number."""
    return fits(value, NUMBER)


def fits(value: Any, form: Any) -> bool:
    """Return whether a value read from JSON has a form.

    Args:
        value: The value.
        form: A type, where a float must be finite; `{key: form}`, a dict with at least these
            keys; `{str: form}`, a dict with any keys; `[form]`, a list; or a tuple of
            alternatives.

    Example:
        >>> fits({'iter': 3, 'scores': [1.5, 2]}, {'iter': int, 'scores': [NUMBER]})
        True
    """
    if isinstance(form, tuple):
        return any(fits(value, alternative) for alternative in form)
    if isinstance(form, list) and isinstance(value, list):
        return all(fits(item, form[0]) for item in value)
    if isinstance(form, dict) and isinstance(value, dict):
        forms = dict.fromkeys(value, form[str]) if str in form else form
        return all(key in value and fits(value[key], part) for key, part in forms.items())
    return type(value) is form and (form is not float or math.isfinite(value))


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, allow_nan=False) + '\n'
