"""Which run is best and by how much, for which classes, and where a search should go on."""

from __future__ import annotations

from collections.abc import Iterator

from mmseg_kd.records.class_scores import mean_class_iou
from mmseg_kd.records.message import Message, message
from mmseg_kd.reports.comparing.collection import Collection, Group
from mmseg_kd.reports.comparing.statistics import FEWEST_SEEDS, sentence
from mmseg_kd.reports.sections.search_results import best_at_the_edge

# Sentences of one kind: more are read in the tables.
MOST = 6
# Percent: a class below is not recognised.
UNSEEN = 1.0


def score_findings(collection: Collection) -> Iterator[Message]:
    """The best run and the comparisons with the baseline."""
    yield from _best(collection)
    yield from _comparisons(collection)


def class_findings(collection: Collection) -> Iterator[Message]:
    """Classes that are not recognised, gained most and lost most."""
    ranked = collection.ranked
    if not ranked:
        return
    metric, baseline = collection.metric, collection.baseline
    best = next(iter(collection.students), ranked[0])
    own = mean_class_iou(best.best_classes(metric))
    unseen = [name for name, iou in own.items() if iou < UNSEEN]
    if unseen:
        yield message(
            '{name} hardly recognises {classes} (IoU below {limit} %).',
            name=best.name,
            classes=', '.join(unseen[:MOST]),
            limit=f'{UNSEEN:g}',
        )
    if baseline is None or best is baseline:
        return
    if deltas := collection.class_differences(best):
        up, down = max(deltas, key=deltas.get), min(deltas, key=deltas.get)
        yield message(
            '{name} against {baseline} by class: most gained by {up} ({gain} points of IoU), '
            'least by {down} ({loss}).',
            name=best.name,
            baseline=baseline.name,
            up=up,
            gain=f'{deltas[up]:+.2f}',
            down=down,
            loss=f'{deltas[down]:+.2f}',
        )


def search_findings(collection: Collection) -> Iterator[Message]:
    """Best values at the edge of what could be chosen."""
    for _, edges in best_at_the_edge(collection):
        for key, (value, edge) in edges.items():
            values = dict(key=key, value=f'{value:.4g}')
            if edge == 'lowest':
                yield message(
                    'The best value of {key}, {value}, is the lowest that could be chosen: lower '
                    'ones may be better.',
                    **values,
                )
            else:
                yield message(
                    'The best value of {key}, {value}, is the highest that could be chosen: '
                    'higher ones may be better.',
                    **values,
                )


def _best(collection: Collection) -> Iterator[Message]:
    ranked = collection.ranked
    if not ranked:
        return
    metric, best = collection.metric, ranked[0]
    score = best.mean_score(metric)
    values = dict(name=best.name, score=f'{score:.2f}', metric=metric)
    if len(ranked) == 1:
        yield message('{name} reached {score} {metric}.', **values)
        return
    yield message(
        'Highest mean: {name} with {score} {metric}, then {second} with {next}.',
        second=ranked[1].name,
        next=f'{ranked[1].mean_score(metric):.2f}',
        **values,
    )


def _comparisons(collection: Collection) -> Iterator[Message]:
    baseline = collection.baseline
    if baseline is None:
        return
    metric = collection.metric
    few = []
    for group in collection.students[:MOST]:
        compared = collection.compare(group)
        if compared is None:
            yield _unpaired(collection, group)
        elif compared.verdict == 'few seeds':
            few.append((group.name, compared))
        else:
            yield sentence(group.name, baseline.name, metric, compared)
    if len(few) == 1:
        yield sentence(few[0][0], baseline.name, metric, few[0][1])
    elif few:
        yield message(
            'Too few seeds to tell a real difference from luck (at least {least} are needed), in '
            '{metric} against {baseline}: {names}. The number of seeds is in brackets.',
            least=FEWEST_SEEDS,
            metric=metric,
            baseline=baseline.name,
            names=', '.join(f'{name} {c.mean:+.2f} ({len(c.seeds)})' for name, c in few),
        )
    left = len(collection.students) - MOST
    if left > 0:
        yield message('{count} more runs are compared in the table.', count=left)


def _unpaired(collection: Collection, group: Group) -> Message:
    baseline, difference = collection.baseline, collection.difference(group)
    if difference is not None:
        return message(
            '{name}: {mean} {metric} against {baseline}; a table has no seeds, so nothing more '
            'can be said.',
            name=group.name,
            baseline=baseline.name,
            metric=collection.metric,
            mean=f'{difference:+.2f}',
        )
    return message(
        '{name} and {baseline} have no finished seed in common and cannot be compared.',
        name=group.name,
        baseline=baseline.name,
    )
