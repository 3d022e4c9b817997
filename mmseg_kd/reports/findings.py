"""What a set of runs shows, in sentences that are computed from its numbers."""

from __future__ import annotations

from mmseg_kd.reports.collection import Collection
from mmseg_kd.reports.language import Message
from mmseg_kd.reports.score_findings import class_findings, score_findings, search_findings
from mmseg_kd.reports.training_findings import training_findings


def find(collection: Collection) -> list[Message]:
    """Say what the runs show, the most important first."""
    return [
        *score_findings(collection),
        *training_findings(collection),
        *class_findings(collection),
        *search_findings(collection),
    ]
