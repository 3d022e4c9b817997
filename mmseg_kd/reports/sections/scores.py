"""The sections on scores: the comparison, the teachers, every run and every evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from statistics import fmean
from typing import Any

import numpy as np

from mmseg_kd.paths import relative
from mmseg_kd.records.message import MINUS, message, messages
from mmseg_kd.records.run_record import RunRecord
from mmseg_kd.reports.comparing.collection import Collection, Group
from mmseg_kd.reports.comparing.differing_settings import setting_text, short_keys
from mmseg_kd.reports.comparing.statistics import VERDICTS, PairedDifference, mean_and_sd
from mmseg_kd.reports.models import ModelSize
from mmseg_kd.reports.writing.document import MOST_OPEN, NONE, Block, Paragraph, Table, Text, titled

# These metrics come first in the tables.
ORDER = ('mIoU', 'mAcc', 'aAcc')
VERDICT_TEXTS = messages('better', 'worse', 'within noise', 'too few seeds')


def comparison(collection: Collection, sizes: dict[str, ModelSize]) -> list[Block]:
    """Return the tables of baseline and students, of teachers, and of every run."""
    rows = comparison_table(collection, collection.compared, sizes)
    explanation = message(
        'Scores are means over the seeds ± their standard deviation. Runs are paired by seed, '
        'because the seed fixes the order of the data and the augmentation. Every difference to '
        'the baseline in this report is the mean over the seeds that both have, with its 95 % '
        "confidence interval by Student's t. The verdict is better or worse only if the interval "
        'excludes 0, and never with fewer than 3 seeds; one interval in 20 excludes 0 by chance '
        'alone. Gap closed: the share of the gap from baseline to teacher. GMACs and ms per image '
        'are of one image of the size that the model was trained on, measured when this report '
        'was written.'
    )
    heading, table = titled(message('Comparison'), rows)
    # The best of many stay in sight.
    first = [Table(t.headings, t.rows[:MOST_OPEN]) for t in getattr(table, 'blocks', ())]
    own = comparison_table(collection, collection.teachers, sizes)._replace(name='teacher_runs')
    return [
        *(heading, *first, table, Paragraph(explanation, remark=True)),
        *titled(message('Teachers trained here'), own, 3),
        *titled(message('Every run and its best checkpoint'), runs_table(collection), 3),
    ]


def comparison_table(
    collection: Collection, groups: Sequence[Group], sizes: dict[str, ModelSize]
) -> Table:
    """Return scores, difference to the baseline and cost of groups, means over the seeds."""
    metric, runs = collection.metric, collection.runs
    chosen = short_keys([key for run in runs for key in run.params])
    names = [name for name in metric_names(runs) if name != metric]
    tested = dict.fromkeys(name for run in runs for name in run.test if name != metric)
    headings = [*messages('run', 'seeds'), message('{metric}, val', metric=metric)]
    headings += [*messages('to baseline', '95 % interval', 'verdict', 'gap closed')]
    headings += [message('{metric}, test', metric=metric), message('to baseline, test')]
    headings += messages('parameters [M]', 'GMACs', 'ms per image', 's per iteration', 'total time')
    headings.append(message('GPU memory [GiB]'))
    headings += [message('{metric}, val', metric=name) for name in names]
    headings += [message('{metric}, test', metric=name) for name in tested]
    headings.append(message('chosen'))
    rows = []
    for group in groups:
        compared, on_test = (collection.compare(group, test) for test in (False, True))
        params = ', '.join(f'{chosen[k]}={_short(v)}' for k, v in group.runs[0].params.items())
        closed, size = collection.gap_closed(group), sizes.get(group.name)
        rows.append(
            [
                group.name,
                str(len(group.scores)),
                _mean_and_sd(group.scores),
                number(compared and compared.mean, '+.2f'),
                interval_text(compared),
                verdict_text(compared),
                NONE if closed is None else number(100 * closed, '.0f') + ' %',
                _mean_and_sd(group.test_scores),
                number(on_test and on_test.mean, '+.2f'),
                *(number(value) for value in size or (None, None, None)),
                mean_of(map(_seconds_per_iteration, group.counted), '.3f'),
                _duration(group.counted),
                _memory(group.counted),
                *(mean_of(row.get(name) for _, row in group.best) for name in names),
                *(mean_of(run.test.get(name) for run in group.counted) for name in tested),
                params or NONE,
            ]
        )
    return Table(headings, rows, 'comparison', strong=0 if len(rows) > 1 else None)


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
    headings = [*messages('run', 'seed'), message('{metric}, val', metric=metric)]
    headings += [message('at iteration'), message('{metric}, test', metric=metric)]
    return Table([*headings, message('checkpoint')], rows, 'runs')


def _checkpoint(run: RunRecord, metric: str) -> str:
    """Return the checkpoint; with its own score where the best evaluation has none."""
    found, best = run.best_checkpoint(metric), run.best(metric)
    if found is None:
        return NONE
    return relative(found[0]) + f' ({number(found[1])})' * (found[1] != best[metric])


def evaluations(collection: Collection) -> list[Block]:
    """Return every evaluation of every run."""
    names = metric_names(collection.runs)
    rows = [
        [
            group.name,
            number(run.seed, 'd'),
            str(int(row['iteration'])),
            *(number(row.get(name)) for name in names),
            number(row.get('lr'), '.3g'),
        ]
        for group in collection.groups
        for run in group.measured
        for row in run.evaluations
    ]
    table = Table([*messages('run', 'seed', 'iteration'), *names, 'lr'], rows, 'evaluations')
    return titled(message('Evaluations'), table)


def metric_names(runs: Iterable[RunRecord]) -> list[str]:
    """Return the names of the metrics of runs, in the order of the tables."""
    names = dict.fromkeys(name for run in runs for name in run.metrics)
    return sorted(names, key=lambda n: ORDER.index(n) if n in ORDER else len(ORDER))


def interval_text(compared: PairedDifference | None) -> str:
    """Format the confidence interval of a difference."""
    if compared is None or compared.t_interval is None:
        return NONE
    return f'[{", ".join(number(end, "+.2f") for end in compared.t_interval)}]'


def verdict_text(compared: PairedDifference | None) -> Text:
    """Return the verdict on a difference."""
    return NONE if compared is None else VERDICT_TEXTS[VERDICTS.index(compared.verdict)]


def number(value: float | None, form: str = '.2f') -> str:
    """Format a number with a true minus sign; None is a dash."""
    text = NONE if value is None else format(value, form)
    return text.replace('-', MINUS) if form.endswith('f') else text


def mean_of(values: Iterable[float | None], form: str = '.2f') -> str:
    """Format the mean of the values that are not None."""
    known = [value for value in values if value is not None]
    return number(fmean(known) if known else None, form)


def _mean_and_sd(scores: Sequence[tuple[RunRecord, float]]) -> str:
    if not scores:
        return NONE
    mean, sd = mean_and_sd([score for _, score in scores])
    return f'{mean:.2f}' if sd is None else f'{mean:.2f} ± {sd:.2f}'


def _short(value: Any) -> str:
    return f'{value:.3g}' if isinstance(value, float) else setting_text(value)


def _seconds_per_iteration(run: RunRecord) -> float | None:
    """Return the median of the logged times, which ignores the slow first ones."""
    times = run.training.get('time')
    return None if times is None or not np.isfinite(times).any() else float(np.nanmedian(times))


def _memory(runs: Sequence[RunRecord]) -> str:
    logged = [run.training['memory'] for run in runs if 'memory' in run.training]
    peak = max((column[np.isfinite(column)].max(initial=0) for column in logged), default=0)
    return number(peak / 1024, '.1f') if peak else NONE


def _duration(runs: Sequence[RunRecord]) -> str:
    known = [run.log.seconds for run in runs if run.log.seconds is not None]
    return str(timedelta(seconds=round(fmean(known)))) if known else NONE
