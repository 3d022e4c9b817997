"""Tables of scores: the comparison, its statistics, every evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from mmseg_kd.records.message import Text, message, messages
from mmseg_kd.records.run_record import RunRecord
from mmseg_kd.reports.comparing.collection import Collection, Group
from mmseg_kd.reports.comparing.differing_settings import setting_text, short_keys
from mmseg_kd.reports.comparing.statistics import mean_and_sd
from mmseg_kd.reports.writing.document import Table

NONE = '–'  # noqa: RUF001
# These metrics come first in the tables.
ORDER = ('mIoU', 'mAcc', 'aAcc')


def metric_names(runs: Sequence[RunRecord]) -> list[str]:
    """Return the names of the metrics of runs, in the order of the tables."""
    names = dict.fromkeys(name for run in runs for name in run.metrics)
    return [n for n in ORDER if n in names] + [n for n in names if n not in ORDER]


def comparison_table(collection: Collection) -> Table:
    """Return best and final evaluation of each group, best first; means over the seeds."""
    metric = collection.metric
    others = [name for name in metric_names(collection.runs) if name != metric]
    chosen = short_keys(list(dict.fromkeys(key for r in collection.runs for key in r.params)))
    headings: list[Text] = [
        *messages('run', 'seeds'),
        message('best {metric}', metric=metric),
        *messages('to baseline', 'at iteration'),
        *others,
        message('final {metric}', metric=metric),
        *(messages('parameters') if chosen else []),
    ]
    rows = []
    for group in collection.ranked:
        best = [row for _, row in group.best_rows(metric)]
        mean, sd = mean_and_sd([row[metric] for row in best])
        params = (f'{chosen[k]}={_short(v)}' for k, v in group.runs[0].params.items())
        rows.append(
            [
                group.name,
                str(len(best)),
                f'{mean:.2f}' if sd is None else f'{mean:.2f} ± {sd:.2f}',
                number(collection.difference(group), '+.2f'),
                span([int(row['iteration']) for row in best]),
                *(mean_of([row.get(name) for row in best]) for name in others),
                mean_of([run.evaluations[-1].get(metric) for run in group.counted]),
                *([', '.join(params) or NONE] if chosen else []),
            ]
        )
    strong = frozenset({0}) if len(rows) > 1 else frozenset()
    texts = frozenset({0, len(headings) - 1}) if chosen else frozenset({0})
    return Table(headings, rows, strong, texts)


def statistics_table(collection: Collection) -> Table | None:
    """Return the paired differences to the baseline; None if nothing can be paired."""
    verdicts = {
        'better': message('better'),
        'worse': message('worse'),
        'noise': message('within noise'),
        'few seeds': message('too few seeds'),
    }
    compared = [(group.name, collection.compare(group)) for group in collection.ranked]
    rows = [
        [
            name,
            str(len(pairs.seeds)),
            f'{pairs.mean:+.2f}',
            number(pairs.sd),
            _interval(pairs.t_interval),
            _interval(pairs.bootstrap),
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
    return Table(headings, rows, text_columns=frozenset({0, 7})) if rows else None


def seeds_table(collection: Collection) -> Table:
    """Return the best evaluation of every single run."""
    metric = collection.metric
    runs = [(group, run) for group in collection.ranked for run in group.runs]
    rows = [
        [
            group.name,
            number(run.seed, 'd'),
            number(best[metric]),
            str(int(best['iteration'])),
            number(run.evaluations[-1].get(metric, float('nan'))),
        ]
        for group, run in runs
        if (best := run.best(metric)) is not None
    ]
    headings = [
        *messages('run', 'seed'),
        message('best {metric}', metric=metric),
        message('at iteration'),
        message('final {metric}', metric=metric),
    ]
    return Table(headings, rows)


def evaluation_table(run: RunRecord, metric: str) -> Table:
    """Return every evaluation of a run, the best one in bold."""
    names = metric_names([run])
    best = run.best(metric)
    rows = [
        [
            str(int(row['iteration'])),
            *(number(row.get(name)) for name in names),
            number(row.get('lr'), '.3g'),
        ]
        for row in run.evaluations
    ]
    strong = frozenset(i for i, row in enumerate(run.evaluations) if row is best)
    return Table([message('iteration'), *names, 'lr'], rows, strong)


def number(value: float | None, form: str = '.2f') -> str:
    """Format a number; None is a dash."""
    return NONE if value is None else format(value, form)


def mean_of(values: Sequence[float | None], form: str = '.2f') -> str:
    """Format the mean of the values that are not None."""
    known = [value for value in values if value is not None]
    return number(fmean(known) if known else None, form)


def span(values: Sequence[int]) -> str:
    """Format the lowest and the highest value, or the one that all are."""
    low, high = min(values), max(values)
    return str(low) if low == high else f'{low}\u2013{high}'


def group_label(group: Group, run: RunRecord) -> str:
    """Return the name of a run: its group and, if there are others in it, its seed."""
    return group.name if len(group.runs) == 1 else f'{group.name}, seed {run.seed}'


def _short(value: Any) -> str:
    return f'{value:.3g}' if isinstance(value, float) else setting_text(value)


def _interval(ends: tuple[float, float] | None) -> Text:
    if ends is None:
        return NONE
    return message('{low} to {high}', low=f'{ends[0]:+.2f}', high=f'{ends[1]:+.2f}')
