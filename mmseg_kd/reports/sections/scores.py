"""The sections on scores: the comparison, its statistics, every evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

from mmseg_kd.paths import relative
from mmseg_kd.records.message import Text, message, messages
from mmseg_kd.records.run_record import RunRecord
from mmseg_kd.reports.comparing.collection import Collection
from mmseg_kd.reports.comparing.differing_settings import setting_text, short_keys
from mmseg_kd.reports.comparing.statistics import VERDICTS, mean_and_sd
from mmseg_kd.reports.writing.document import Block, Fold, Heading, Paragraph, Table, titled

NONE = '–'  # noqa: RUF001
# These metrics come first in the tables.
ORDER = ('mIoU', 'mAcc', 'aAcc')
MOST_ROWS = 25


def comparison(collection: Collection) -> list[Block]:
    """Return the table of all runs, and the statistics."""
    table = comparison_table(collection)
    blocks = titled(message('Comparison'), table)
    if len(table.rows) > MOST_ROWS:
        blocks.insert(1, table._replace(rows=table.rows[:MOST_ROWS]))
    blocks += _statistics(collection)
    return blocks + titled(message('Every run and its best checkpoint'), runs_table(collection), 3)


def _statistics(collection: Collection) -> list[Block]:
    table = statistics_table(collection)
    if not table.rows:
        return []
    explanation = message(
        'Runs are paired by seed, because the seed fixes the order of the data and the '
        'augmentation. Every difference to the baseline in this report is the mean over the '
        'seeds that both have. ± and the first interval are the 95 % confidence interval of '
        "that mean by Student's t. The second interval is from the bootstrap (BCa), which is "
        'too narrow for few seeds. The verdict is better or worse only if the first interval '
        'excludes 0, and never with fewer than 3 seeds; one interval in 20 excludes 0 by chance '
        'alone. The sign test cannot fall below 0.05 with fewer than 6 seeds.'
    )
    heading = message('Differences to {baseline}', baseline=collection.baseline.name)
    return [*titled(heading, table, 3), Paragraph(explanation, remark=True)]


def evaluations(collection: Collection) -> list[Block]:
    """Return every evaluation of every run."""
    folds = []
    for group, run in ((g, run) for g in collection.groups for run in g.measured):
        name = group.name if len(group.runs) == 1 else f'{group.name}, seed {run.seed}'
        summary = message('{name}: {count} evaluations', name=name, count=len(run.evaluations))
        folds.append(Fold(summary, [evaluation_table(run, collection.metric)]))
    summary = message('All {count} runs', count=len(folds))
    return [Heading(message('Evaluations')), Fold(summary, folds)]


def metric_names(runs: Iterable[RunRecord]) -> list[str]:
    """Return the names of the metrics of runs, in the order of the tables."""
    names = dict.fromkeys(name for run in runs for name in run.metrics)
    return sorted(names, key=lambda n: ORDER.index(n) if n in ORDER else len(ORDER))


def comparison_table(collection: Collection) -> Table:
    """Return best and final evaluation of each group, best first; means over the seeds."""
    metric = collection.metric
    others = [name for name in metric_names(collection.runs) if name != metric]
    chosen = short_keys([key for run in collection.runs for key in run.params])
    best, final = _best_and_final(metric)
    headings = [*messages('run', 'seeds'), best, *messages('to baseline', 'at iteration')]
    headings += [*others, final, *(messages('parameters') if chosen else [])]
    rows = []
    for group in collection.ranked:
        found = [row for _, row in group.best]
        mean, sd = mean_and_sd([row[metric] for row in found])
        params = ', '.join(f'{chosen[k]}={_short(v)}' for k, v in group.runs[0].params.items())
        rows.append(
            [
                group.name,
                str(len(found)),
                number(mean) if sd is None else f'{mean:.2f} ± {sd:.2f}',
                number(collection.difference(group), '+.2f'),
                span([int(row['iteration']) for row in found]),
                *(mean_of(row.get(name) for row in found) for name in others),
                mean_of(run.evaluations[-1].get(metric) for run in group.counted),
                *([params or NONE] if chosen else []),
            ]
        )
    return Table(headings, rows, strong=0 if len(rows) > 1 else None)


def statistics_table(collection: Collection) -> Table:
    """Return the paired differences to the baseline, without rows if nothing can be paired."""
    texts = messages('better', 'worse', 'within noise', 'too few seeds')
    verdicts = dict(zip(VERDICTS, texts, strict=True))
    compared = [(group.name, collection.compare(group)) for group in collection.ranked]
    rows = [
        [
            name,
            str(len(pairs.seeds)),
            number(pairs.mean, '+.2f'),
            number(pairs.sd),
            *(_interval(ends) for ends in (pairs.t_interval, pairs.bootstrap)),
            number(pairs.sign_p, '.3f'),
            verdicts[pairs.verdict],
        ]
        for name, pairs in compared
        if pairs is not None
    ]
    headings = [
        *messages('run', 'pairs', 'paired difference', 'sd', '95 %, t', '95 %, bootstrap'),
        *messages('sign test p', 'verdict'),
    ]
    return Table(headings, rows)


def runs_table(collection: Collection) -> Table:
    """Return the best evaluation of every single run, and its checkpoint with that file's score."""
    metric = collection.metric
    rows = [
        [
            group.name,
            number(run.seed, 'd'),
            number(best[metric]),
            str(int(best['iteration'])),
            number(run.evaluations[-1].get(metric)),
            _checkpoint(run, metric),
        ]
        for group in collection.ranked
        for run in group.runs
        if (best := run.best(metric)) is not None
    ]
    best, final = _best_and_final(metric)
    headings = [*messages('run', 'seed'), best, message('at iteration'), final]
    return Table([*headings, message('checkpoint')], rows)


def _checkpoint(run: RunRecord, metric: str) -> str:
    found = None if run.outside else run.best_checkpoint(metric)
    return f'{relative(found[0])} ({number(found[1])})' if found else NONE


def evaluation_table(run: RunRecord, metric: str) -> Table:
    """Return every evaluation of a run, the best one in bold."""
    names = metric_names([run])
    rows = [
        [
            str(int(row['iteration'])),
            *(number(row.get(name)) for name in names),
            number(row.get('lr'), '.3g'),
        ]
        for row in run.evaluations
    ]
    best = run.best(metric)
    strong = next((i for i, row in enumerate(run.evaluations) if row is best), None)
    return Table([*messages('iteration'), *names, 'lr'], rows, strong)


def number(value: float | None, form: str = '.2f') -> str:
    """Format a number; None is a dash."""
    return NONE if value is None else format(value, form)


def mean_of(values: Iterable[float | None], form: str = '.2f') -> str:
    """Format the mean of the values that are not None."""
    known = [value for value in values if value is not None]
    return number(fmean(known) if known else None, form)


def span(values: Sequence[int]) -> str:
    """Format the lowest and the highest value, or the one that all are."""
    return '\u2013'.join(map(str, sorted({min(values), max(values)})))


def _best_and_final(metric: str) -> list[Text]:
    return [message('best {metric}', metric=metric), message('final {metric}', metric=metric)]


def _short(value: Any) -> str:
    return f'{value:.3g}' if isinstance(value, float) else setting_text(value)


def _interval(ends: tuple[float, float] | None) -> str:
    return NONE if ends is None else f'[{ends[0]:+.2f}, {ends[1]:+.2f}]'
