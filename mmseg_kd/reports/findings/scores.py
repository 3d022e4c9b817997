"""Findings about scores: which run is best and by how much, classes, and searches."""

from __future__ import annotations

from collections.abc import Iterator

from mmseg_kd.records.class_scores import mean_class_iou
from mmseg_kd.records.message import Message, message
from mmseg_kd.reports.comparing.collection import Collection, Group
from mmseg_kd.reports.comparing.search_results import best_at_the_edge
from mmseg_kd.reports.comparing.statistics import FEWEST_SEEDS, sentence

# Sentences of one kind; the tables have the rest.
MOST = 6
# Percent: a class below is not recognised.
UNSEEN = 1.0


def score_findings(collection: Collection) -> Iterator[Message]:
    """Yield the best run and the comparisons with the baseline."""
    ranked, metric = collection.ranked, collection.metric
    if ranked:
        score = f'{ranked[0].mean_score(metric):.2f}'
        values = dict(name=ranked[0].name, score=score, metric=metric)
        if len(ranked) == 1:
            yield message('{name} reached {score} {metric}.', **values)
        else:
            yield message(
                'Highest mean: {name} with {score} {metric}, then {second} with {next}.',
                second=ranked[1].name,
                next=f'{ranked[1].mean_score(metric):.2f}',
                **values,
            )
    if collection.baseline is not None:
        yield from _comparisons(collection, collection.baseline.name)


def class_findings(collection: Collection) -> Iterator[Message]:
    """Yield the classes that are not recognised, gained most and lost most."""
    best = next(iter([*collection.students, *collection.ranked]), None)
    if best is None:
        return
    iou = mean_class_iou(best.best_classes(collection.metric))
    if unseen := [name for name, value in iou.items() if value < UNSEEN]:
        yield message(
            '{name} hardly recognises {classes} (IoU below {limit} %).',
            name=best.name,
            classes=', '.join(unseen[:MOST]),
            limit=f'{UNSEEN:g}',
        )
    if deltas := collection.class_differences(best):
        up, down = max(deltas, key=deltas.get), min(deltas, key=deltas.get)
        yield message(
            '{name} against {baseline} by class: most gained by {up} ({gain} points of IoU), '
            'least by {down} ({loss}).',
            name=best.name,
            baseline=collection.baseline.name,
            up=up,
            gain=f'{deltas[up]:+.2f}',
            down=down,
            loss=f'{deltas[down]:+.2f}',
        )


def search_findings(collection: Collection) -> Iterator[Message]:
    """Yield the best values at the edge of what could be chosen."""
    edges = [item for _, found in best_at_the_edge(collection) for item in found.items()]
    for key, (value, edge) in edges:
        yield message(
            'The best value of {key}, {value}, is the lowest that could be chosen: lower '
            'ones may be better.'
            if edge == 'lowest'
            else 'The best value of {key}, {value}, is the highest that could be chosen: '
            'higher ones may be better.',
            key=key,
            value=f'{value:.4g}',
        )


def _comparisons(collection: Collection, baseline: str) -> Iterator[Message]:
    metric, students = collection.metric, collection.students
    few = []
    for group in students[:MOST]:
        compared = collection.compare(group)
        if compared is None:
            yield _unpaired(collection, group, baseline)
        elif compared.verdict == 'few seeds':
            few.append((group.name, compared))
        else:
            yield sentence(group.name, baseline, metric, compared)
    if len(few) == 1:
        ((name, compared),) = few
        yield sentence(name, baseline, metric, compared)
    elif few:
        yield message(
            'Too few seeds to tell a real difference from luck (at least {least} are needed), in '
            '{metric} against {baseline}: {names}. The number of seeds is in brackets.',
            least=FEWEST_SEEDS,
            metric=metric,
            baseline=baseline,
            names=', '.join(f'{name} {c.mean:+.2f} ({len(c.seeds)})' for name, c in few),
        )
    if len(students) > MOST:
        count = len(students) - MOST
        yield message('{count} more runs are compared in the table.', count=count)


def _unpaired(collection: Collection, group: Group, baseline: str) -> Message:
    difference = collection.difference(group)
    if difference is None:
        return message(
            '{name} and {baseline} have no finished seed in common and cannot be compared.',
            name=group.name,
            baseline=baseline,
        )
    return message(
        '{name}: {mean} {metric} against {baseline}; a table has no seeds, so significance '
        'cannot be tested.',
        name=group.name,
        baseline=baseline,
        metric=collection.metric,
        mean=f'{difference:+.2f}',
    )
