"""Tables of scores: the comparison, its statistics, every evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from mmseg_kd.records.message import Text, message
from mmseg_kd.records.run_record import RunRecord
from mmseg_kd.reports.comparing.collection import Collection, Group
from mmseg_kd.reports.comparing.differing_settings import setting_text, short_keys
from mmseg_kd.reports.comparing.statistics import mean_and_sd
from mmseg_kd.reports.writing.document import Table

NONE = '–'  # noqa: RUF001
# These come first in the tables, others follow.
ORDER = ('mIoU', 'mAcc', 'aAcc')


def metric_names(runs: Sequence[RunRecord]) -> list[str]:
    """Names of the metrics of runs, in the order of the tables."""
    names = dict.fromkeys(name for run in runs for name in run.metrics)
    return [n for n in ORDER if n in names] + [n for n in names if n not in ORDER]


def comparison_table(collection: Collection) -> Table:
    """Best and final evaluation of each group, the best first; means over the seeds."""
    metric = collection.metric
    others = [name for name in metric_names(collection.runs) if name != metric]
    headings: list[Text] = [
        message('run'),
        message('seeds'),
        message('best {metric}', metric=metric),
        message('to baseline'),
        message('at iteration'),
        *others,
        message('final {metric}', metric=metric),
    ]
    chosen = short_keys(list(dict.fromkeys(key for r in collection.runs for key in r.params)))
    if chosen:
        headings.append(message('parameters'))
    rows = []
    for group in collection.ranked:
        mean, sd = mean_and_sd(group.best_scores(metric))
        best = [row for run in group.counted if (row := run.best(metric)) is not None]
        finals = [run.evaluations[-1].get(metric) for run in group.counted]
        rows.append(
            [
                group.name,
                str(len(best)),
                f'{mean:.2f}' if sd is None else f'{mean:.2f} ± {sd:.2f}',
                number(collection.difference(group), '+.2f'),
                span([int(row['iteration']) for row in best]),
                *(mean_of([row.get(name) for row in best]) for name in others),
                mean_of(finals),
            ]
        )
        if chosen:
            params = group.runs[0].params.items()
            texts = (f'{chosen[key]}={_short(value)}' for key, value in params)
            rows[-1].append(', '.join(texts) or NONE)
    strong = frozenset({0}) if len(rows) > 1 else frozenset()
    texts = frozenset({0, len(headings) - 1}) if chosen else frozenset({0})
    return Table(headings, rows, strong, texts)


def statistics_table(collection: Collection) -> Table | None:
    """Paired differences to the baseline; None where nothing can be paired."""
    words = {
        'better': message('better'),
        'worse': message('worse'),
        'noise': message('within noise'),
        'few seeds': message('too few seeds'),
    }
    rows = []
    for group in collection.ranked:
        compared = collection.compare(group)
        if compared is None:
            continue
        rows.append(
            [
                group.name,
                str(len(compared.seeds)),
                f'{compared.mean:+.2f}',
                number(compared.sd),
                _interval(compared.t_interval),
                _interval(compared.bootstrap),
                number(compared.sign_p, '.3f'),
                words[compared.verdict],
            ]
        )
    headings = [
        message('run'),
        message('pairs'),
        message('paired difference'),
        message('sd'),
        message('95 %, t'),
        message('95 %, bootstrap'),
        message('sign test p'),
        message('verdict'),
    ]
    return Table(headings, rows, text_columns=frozenset({0, 7})) if rows else None


def seeds_table(collection: Collection) -> Table:
    """Best evaluation of every single run."""
    metric = collection.metric
    rows = []
    for group in collection.ranked:
        for run in group.runs:
            if (best := run.best(metric)) is not None:
                seed = NONE if run.seed is None else str(run.seed)
                last = f'{run.evaluations[-1].get(metric, float("nan")):.2f}'
                where = str(int(best['iteration']))
                rows.append([group.name, seed, f'{best[metric]:.2f}', where, last])
    headings = [
        message('run'),
        message('seed'),
        message('best {metric}', metric=metric),
        message('at iteration'),
        message('final {metric}', metric=metric),
    ]
    return Table(headings, rows)


def evaluation_table(run: RunRecord, metric: str) -> Table:
    """Every evaluation of a run, the best in bold."""
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
    """Write a number, a dash where there is none."""
    return NONE if value is None else format(value, form)


def mean_of(values: Sequence[float | None], form: str = '.2f') -> str:
    """Write the mean of those that are there."""
    there = [value for value in values if value is not None]
    return number(fmean(there) if there else None, form)


def span(values: Sequence[int]) -> str:
    """Write the lowest and the highest, or the one that all are."""
    low, high = min(values), max(values)
    return str(low) if low == high else f'{low}\u2013{high}'


def group_label(group: Group, run: RunRecord) -> str:
    """Name a run by its group and, where it has others, its seed."""
    return group.name if len(group.runs) == 1 else f'{group.name}, seed {run.seed}'


def _short(value: Any) -> str:
    return f'{value:.3g}' if isinstance(value, float) else setting_text(value)


def _interval(ends: tuple[float, float] | None) -> Text:
    if ends is None:
        return NONE
    return message('{low} to {high}', low=f'{ends[0]:+.2f}', high=f'{ends[1]:+.2f}')
