"""The section on controls: does a run beat what it should beat for its reason to hold?"""

from __future__ import annotations

from mmseg_kd.records.message import Message, message, messages
from mmseg_kd.reports.comparing.collection import Collection, Group, by_seed
from mmseg_kd.reports.comparing.statistics import paired_difference
from mmseg_kd.reports.sections.scores import (
    interval_text,
    metric_names,
    number,
    verdict_text,
)
from mmseg_kd.reports.writing.document import Block, Paragraph, Table, titled

# Metrics of regions, which show what a mean over all pixels hides.
REGIONS = ('mBoundaryIoU', 'mTrimapIoU3', 'mJunctionIoU')


def controls(collection: Collection) -> list[Block]:
    """Return the paired differences of the runs to their controls, corrected for their number."""
    pairs, known = collection.controlled, metric_names(collection.runs)
    metrics = [collection.metric, *(name for name in REGIONS if name in known)]
    measured = [(name, test) for test in (False, True) for name in metrics]
    rows = [
        [run.name, control.name, _label(name, test), *cells]
        for name, test in measured
        for run, control in pairs
        if (cells := _compared(run, control, name, test, len(pairs)))
    ]
    explanation = message(
        'The intervals are corrected for {count} comparisons of each metric (Bonferroni): with a '
        'confidence of 95 % all of them are right at once.',
        count=len(pairs),
    )
    headings = messages('run', 'control', 'metric', 'seeds', 'difference', 'interval', 'verdict')
    blocks = titled(message('Runs against their controls'), Table([*headings], rows, 'controls'))
    return [*blocks, Paragraph(explanation, remark=True)] if blocks else []


def _label(name: str, test: bool) -> Message:
    return message('{metric}, test', metric=name) if test else message('{metric}, val', metric=name)


def _compared(
    run: Group, control: Group, metric: str, test: bool, comparisons: int
) -> list[str] | None:
    scores = (by_seed(group.scores_of(metric, test)) for group in (run, control))
    compared = paired_difference(*scores, comparisons)
    if compared is None:
        return None
    numbers = str(len(compared.seeds)), number(compared.mean, '+.2f'), interval_text(compared)
    return [*numbers, verdict_text(compared)]
