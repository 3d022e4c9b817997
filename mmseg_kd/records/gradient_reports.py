"""`gradients.jsonl`: reports on each loss's share of the student's gradient."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmseg_kd.records.json_lines import is_number, read_json_lines

# Keys of the labels' row and of each loss's row in a report.
OF_LABELS = frozenset(['weighted', 'features', 'logits', 'share'])
OF_A_LOSS = OF_LABELS | {'raw', 'weight', 'cosine'}


def read_reports(file: str | Path) -> list[dict[str, Any]]:
    """Read `gradients.jsonl`; damaged lines are left out."""
    return [report for report in read_json_lines(file)[0] if _is_whole(report)]


def _is_whole(report: Mapping[str, Any]) -> bool:
    losses = report.get('losses')
    if type(report.get('iter')) is not int or not isinstance(losses, dict):
        return False
    rows = [(report.get('task'), OF_LABELS), *((row, OF_A_LOSS) for row in losses.values())]
    return all(
        isinstance(row, dict)
        and keys <= set(row)
        and all(row[key] is None or is_number(row[key]) for key in keys)
        for row, keys in rows
    )
