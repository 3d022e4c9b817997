"""`confusion.jsonl`: the confusion matrix of every evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmseg_kd.records.json_lines import is_number, read_json_lines


def read_confusions(file: str | Path) -> list[dict[str, Any]]:
    """Read `confusion.jsonl` by iteration; of two lines of one iteration the later counts.

    Damaged lines, as after a kill or a power cut, are left out.
    """
    records = {record['iter']: record for record in read_json_lines(file)[0] if _is_whole(record)}
    return [records[iteration] for iteration in sorted(records)]


def _is_whole(record: dict[str, Any]) -> bool:
    classes, matrix = record.get('classes'), record.get('matrix')
    return (
        type(record.get('iter')) is int
        and isinstance(classes, list)
        and all(isinstance(name, str) for name in classes)
        and len(set(classes)) == len(classes) > 0
        and isinstance(matrix, list)
        and len(matrix) == len(classes)
        and all(isinstance(row, list) and len(row) == len(classes) for row in matrix)
        and all(is_number(count) and count >= 0 for row in matrix for count in row)
    )
