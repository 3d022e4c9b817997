"""The findings of a report: scores, classes and searches; `training.py` has the trainings."""

import itertools
from collections.abc import Iterator

from mmseg_kd.records.class_scores import mean_class_iou
from mmseg_kd.records.message import Message, message, number
from mmseg_kd.records.study_file import at_the_edge
from mmseg_kd.reports.comparing.collection import Collection, compare_groups
from mmseg_kd.reports.comparing.statistics import sentence
from mmseg_kd.reports.findings.training import MOST, training_findings, weak_teachers

MOST_COMPARED = 3
# Factor from which on the number of evaluations matters: the best of 12 equal ones is 1.6 standard
# deviations above their mean, that of 8 is 1.4.
MORE_EVALUATIONS = 1.5
# IoU in percent below which a class counts as not recognised.
UNSEEN = 1.0


def find(collection: Collection) -> list[Message]:
    """Return the sentences that follow from the numbers, the most important first."""
    return [
        *_comparisons(collection),
        *_chosen(collection),
        *_controls(collection),
        *_gap(collection),
        *weak_teachers(collection),
        *_best(collection),
        *training_findings(collection),
        *_classes(collection),
        *_edges(collection),
    ]


def _best(collection: Collection) -> Iterator[Message]:
    finished = [group for group in collection.ranked if group.finished and not group.failed]
    for group in [g for g in finished[:1] if g.score == max(other.score for other in finished)]:
        values = dict(name=group.name, score=f'{group.score:.2f}', metric=collection.metric)
        yield message('{name} reached {score} {metric}, the highest mean.', **values)


def _comparisons(collection: Collection) -> Iterator[Message]:
    if collection.baseline is None:
        return
    students = collection.students
    values = dict(metric=collection.metric, baseline=collection.baseline.name)
    others = students[MOST_COMPARED:]
    verdicts = [(x, c.verdict) for x in others if (c := collection.compare(x))]
    better, worse = ([x for x, v in verdicts if v == one] for one in ('better', 'worse'))
    extremes = [*better[:MOST_COMPARED], *worse[-MOST_COMPARED:]]
    for group in [*students[:MOST_COMPARED], *extremes]:
        compared = collection.compare(group)
        if compared:
            yield sentence(group.name, compared=compared, **values)
        else:
            yield message(
                '{name} and {baseline} cannot be compared: they have no finished seed with '
                '{metric} in common, or other data.',
                name=group.name,
                **values,
            )
        pair = (group.first, collection.baseline.first)
        own, other = (0 if r.setting('train_cfg', 'time_budget') else r.max_iters for r in pair)
        if compared and own and other and own != other:
            yield message(
                '{name} trained for {own} iterations, {baseline} for {other}: a part of the '
                'difference may come from that.',
                **values | dict(name=group.name, own=own, other=other),
            )
        own, other = (len(run.curve(collection.metric)) for run in pair)
        if compared and own and other and max(own, other) >= MORE_EVALUATIONS * min(own, other):
            yield message(
                'Evaluations: {name} has {own}, {baseline} has {other}. The best of more is higher '
                'by chance.',
                **values | dict(name=group.name, own=own, other=other),
            )
        tested = collection.compare(group, test=True)
        if tested and group is students[0]:
            where = message('{metric} on the test split', metric=collection.metric)
            yield sentence(group.name, compared=tested, **values | {'metric': where})


def _chosen(collection: Collection) -> Iterator[Message]:
    for points in map(collection.points, collection.studies):
        compared = [(x, collection.compare(x)) for x in collection.students if x in points]
        better = [x for x, c in compared if c and c.verdict == 'better']
        if better and len(points) > 1:
            yield message(
                '{name} was chosen from {count} settings by these scores, so a part of its lead '
                'is chance, on the test split too. Confirm it with seeds that were not used.',
                name=better[0].name,
                count=len(points),
            )


def _controls(collection: Collection) -> Iterator[Message]:
    pairs, metric = collection.controlled, collection.metric
    # The baseline as a control is among the comparisons.
    others = [(run, control) for run, control in pairs if control is not collection.baseline]
    on_test = message('{metric} on the test split', metric=metric)
    for (run, control), test in itertools.product(others[:MOST], (False, True)):
        if compared := compare_groups(run, control, metric, test, len(pairs)):
            yield sentence(run.name, control.name, on_test if test else metric, compared)


def _gap(collection: Collection) -> Iterator[Message]:
    for group in collection.students[:1]:
        closed, compared = collection.gap_closed(group), collection.compare(group)
        if closed and compared.verdict == 'better':
            names = dict(name=group.name, baseline=collection.baseline.name)
            gap, share = compared.mean / closed, number(100 * closed, '.0f')
            yield message(
                'The teacher is {gap} {metric} above {baseline}; {name} closes {share} % of it.',
                **names | dict(gap=f'{gap:.2f}', share=share, metric=collection.metric),
            )


def _classes(collection: Collection) -> Iterator[Message]:
    best = collection.best
    if best is None:
        return
    evaluated = [scores for _, scores in best.classes]
    # A class without a labelled pixel has an IoU of 0 where it is predicted.
    known = [(s.iou, s.confusion) for s in evaluated if s.confusion is not None]
    absent = {n for names, x in known for n, row in zip(names, x, strict=True) if not row.any()}
    iou = mean_class_iou(evaluated)
    if unseen := [n for n, value in iou.items() if value < UNSEEN and n not in absent]:
        names = ', '.join(unseen[:MOST])
        values = dict(name=best.name, classes=names, limit=f'{UNSEEN:g}')
        yield message('{name} hardly recognises {classes} (IoU below {limit} %).', **values)
    if deltas := collection.class_differences(best):
        low, high = min(deltas, key=deltas.get), max(deltas, key=deltas.get)
        ends = dict(low=low, high=high, least=number(deltas[low], '+.2f'))
        ends |= dict(most=number(deltas[high], '+.2f'))
        yield message(
            'IoU by class, {name} minus {baseline}: {least} ({low}) to {most} ({high}) points.',
            **ends | dict(name=best.name, baseline=collection.baseline.name),
        )


def _edges(collection: Collection) -> Iterator[Message]:
    for study in collection.studies:
        best = max(collection.points(study), key=lambda point: point.score, default=None)
        found = at_the_edge(study.space, best.params) if best else {}
        for key, (value, edge) in found.items():
            yield message(
                'The best value of {key}, {value}, is at the {edge} end of the search space: '
                'values beyond it may be better.',
                key=key,
                value=f'{value:.4g}',
                edge=message('lower' if edge == 'lowest' else 'upper'),
            )
