"""The findings of a report: sentences that follow from the numbers."""

from __future__ import annotations

from mmseg_kd.records.message import Message
from mmseg_kd.reports.comparing.collection import Collection
from mmseg_kd.reports.findings.scores import class_findings, score_findings, search_findings
from mmseg_kd.reports.findings.training import training_findings


def find(collection: Collection) -> list[Message]:
    """Return all findings, the most important first."""
    return [
        *score_findings(collection),
        *training_findings(collection),
        *class_findings(collection),
        *search_findings(collection),
    ]
