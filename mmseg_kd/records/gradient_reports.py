"""`gradients.jsonl`: reports on each loss's share of the student's gradient."""

from pathlib import Path
from typing import Any

from mmseg_kd.records.json_lines import OPTIONAL_NUMBER, fits, read_json_lines

LABELS = dict.fromkeys(('weighted', 'features', 'logits', 'share'), OPTIONAL_NUMBER)
LOSS = LABELS | dict.fromkeys(('raw', 'weight', 'cosine'), OPTIONAL_NUMBER)
FORM = {'iter': int, 'task': LABELS, 'losses': {str: LOSS}}


def read_reports(file: str | Path) -> list[dict[str, Any]]:
    """Read `gradients.jsonl`; damaged lines are left out."""
    return [report for report in read_json_lines(file)[0] if fits(report, FORM)]
