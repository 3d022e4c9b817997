"""The sections on scores: the comparison, the teachers, every run, and the controls."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from statistics import fmean

import numpy as np

from mmseg_kd.paths import relative
from mmseg_kd.records.message import message, messages, number
from mmseg_kd.records.run_record import RunRecord
from mmseg_kd.reports.comparing.collection import Collection, Group, compare_groups
from mmseg_kd.reports.comparing.differing_settings import setting_text, short_keys
from mmseg_kd.reports.comparing.statistics import (
    VERDICTS,
    PairedDifference,
    interval_text,
    mean_and_sd,
)
from mmseg_kd.reports.models import ModelSize
from mmseg_kd.reports.writing.document import NONE, Block, Paragraph, Table, Text, titled

# These metrics come first in the tables.
ORDER = ('mIoU', 'mAcc', 'aAcc')
# Metrics of regions, which show what a mean over all pixels hides.
REGIONS = ('mBoundaryIoU', 'mTrimapIoU3', 'mJunctionIoU')
VERDICT_TEXTS = messages('better', 'worse', 'within noise', 'too few seeds')


def comparison(collection: Collection, sizes: dict[str, ModelSize]) -> list[Block]:
    """Return the tables of baseline and students, of teachers, and of every run."""
    rows = comparison_table(collection, collection.compared, sizes)
    explanation = message(
        'Scores are means over the seeds ± their standard deviation. Runs are paired by seed, '
        'because the seed fixes the order of the data and the augmentation. Every difference to '
        'the baseline in this report is the mean over the seeds that both have, with its 95 % '
        "confidence interval by Student's t, corrected as below if the baseline is a control. The "
        'verdict is better or worse only if the interval excludes 0, and never with fewer than 3 '
        'seeds; one interval in 20 excludes 0 by chance alone, and that of the best of many '
        'settings more often. Gap closed: the share of the gap from baseline to teacher that the '
        'student closes, if the gap is at least a point. GMACs and ms per image are for one image '
        'of the training size, measured when this report was written.'
    )
    own = comparison_table(collection, collection.teachers, sizes)._replace(name='teacher_runs')
    return [
        *titled(message('Comparison'), rows),
        Paragraph(explanation, remark=True),
        *titled(message('Teachers trained here'), own, 3),
        *titled(message('Every run and its best checkpoint'), runs_table(collection), 3),
    ]


def comparison_table(
    collection: Collection, groups: Sequence[Group], sizes: dict[str, ModelSize]
) -> Table:
    """Return scores, difference to the baseline and cost of groups, means over the seeds."""
    others = [name for name in metric_names(collection.runs) if name != collection.metric]
    short = short_keys([key for run in collection.runs for key in run.params])
    rows = [_comparison(collection, g, sizes.get(g.name), others, short) for g in groups]
    headings = [heading for heading, _ in rows[0]] if rows else []
    return Table(headings, [[cell for _, cell in row] for row in rows], 'comparison')


def _comparison(
    collection: Collection,
    group: Group,
    size: ModelSize | None,
    others: Sequence[str],
    short: Mapping[str, str],
) -> list[tuple[Text, Text]]:
    """Return the headings and the cells of a group's row."""
    metric, runs = collection.metric, group.counted
    compared, on_test = (collection.compare(group, test) for test in (False, True))
    closed, size = collection.gap_closed(group), size or (None, None, None)
    unfinished = message('{name} (unfinished)', name=group.name)
    chosen = [f'{short[key]}={setting_text(value)}' for key, value in group.params.items()]
    return [
        (message('run'), group.name if group.finished else unfinished),
        (message('chosen'), ', '.join(chosen) or NONE),
        (message('seeds'), str(len(group.scores))),
        (f'{metric}, val', _mean_and_sd(group.scores)),
        (message('to baseline'), number(compared and compared.mean, '+.2f')),
        (message('95 % interval'), interval_text(compared)),
        (message('verdict, val'), verdict_text(compared)),
        (message('gap closed'), NONE if closed is None else f'{number(100 * closed, ".0f")} %'),
        (f'{metric}, test', _mean_and_sd(group.scores_of(metric, True))),
        (message('to baseline, test'), number(on_test and on_test.mean, '+.2f')),
        (message('95 % interval, test'), interval_text(on_test)),
        *zip(messages('parameters [M]', 'GMACs', 'ms per image'), map(number, size), strict=True),
        (message('total time'), _duration(runs)),
        (message('GPU memory [GiB]'), _memory(runs)),
        *((f'{name}, val', mean_of(row.get(name) for _, row in group.best)) for name in others),
        *((f'{name}, test', mean_of(run.test.get(name) for run in runs)) for name in others),
    ]


def runs_table(collection: Collection) -> Table:
    """Return the best evaluation of every single run, and its checkpoint."""
    metric = collection.metric
    rows = [
        [
            group.name,
            number(run.seed, 'd'),
            number(best[metric]),
            str(int(best['iteration'])),
            number(run.test.get(metric)),
            _checkpoint(run, metric),
        ]
        for group in collection.ranked
        for run in group.runs
        if (best := run.best(metric)) is not None
    ]
    name, seed, iteration, checkpoint = messages('run', 'seed', 'at iteration', 'checkpoint')
    headings = [name, seed, f'{metric}, val', iteration, f'{metric}, test', checkpoint]
    return Table(headings, rows, 'runs')


def _checkpoint(run: RunRecord, metric: str) -> str:
    """Return the best checkpoint, with its own score if it is not of the best evaluation."""
    found, best = run.best_checkpoint(metric), run.best(metric)
    if found is None:
        return NONE
    return relative(found[0]) + f' ({number(found[1])})' * (found[1] != best[metric])


def controls(collection: Collection) -> list[Block]:
    """Compare runs with their controls, corrected for the number of comparisons."""
    pairs, known = collection.controlled, metric_names(collection.runs)
    metrics = [collection.metric, *(name for name in REGIONS if name in known)]
    rows = []
    for split, metric, (run, control) in itertools.product(('val', 'test'), metrics, pairs):
        if compared := compare_groups(run, control, metric, split == 'test', len(pairs)):
            seeds, difference = str(len(compared.seeds)), number(compared.mean, '+.2f')
            row = [run.name, control.name, f'{metric}, {split}', seeds, difference]
            rows.append([*row, interval_text(compared), verdict_text(compared)])
    explanation = message(
        'The intervals are corrected for {count} comparisons of each metric (Bonferroni): with '
        '95 % confidence all of them hold at once.',
        count=len(pairs),
    )
    headings = messages('run', 'control', 'metric', 'seeds', 'difference', 'interval', 'verdict')
    blocks = titled(message('Runs against their controls'), Table([*headings], rows, 'controls'))
    return [*blocks, Paragraph(explanation, remark=True)] if blocks else []


def metric_names(runs: Iterable[RunRecord]) -> list[str]:
    """Return the names of the metrics of runs, in the order of the tables."""
    names = dict.fromkeys(name for run in runs for name in run.metrics)
    return sorted(names, key=lambda n: ORDER.index(n) if n in ORDER else len(ORDER))


def verdict_text(compared: PairedDifference | None) -> Text:
    """Return the verdict on a difference."""
    return NONE if compared is None else VERDICT_TEXTS[VERDICTS.index(compared.verdict)]


def mean_of(values: Iterable[float | None]) -> str:
    """Format the mean of the values that are neither None nor NaN."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    return number(fmean(known) if known else None)


def _mean_and_sd(scores: Sequence[tuple[RunRecord, float]]) -> str:
    if not scores:
        return NONE
    mean, sd = mean_and_sd([score for _, score in scores])
    return f'{mean:.2f}' if sd is None else f'{mean:.2f} ± {sd:.2f}'


def _memory(runs: Sequence[RunRecord]) -> str:
    logged = [run.training['memory'] for run in runs if 'memory' in run.training]
    peak = max((column[np.isfinite(column)].max(initial=0) for column in logged), default=0)
    return number(peak / 1024, '.1f') if peak else NONE


def _duration(runs: Sequence[RunRecord]) -> str:
    known = [run.log.seconds for run in runs if run.log.seconds is not None]
    return str(timedelta(seconds=round(fmean(known)))) if known else NONE
