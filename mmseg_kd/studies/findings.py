"""What a set of runs shows, in sentences that are computed from its numbers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from statistics import fmean

from mmseg_kd.studies.class_scores import mean_class_iou
from mmseg_kd.studies.collection import Collection, Group, best_point, run_name
from mmseg_kd.studies.diagnoses import (
    at_the_edge,
    diverged,
    loss_faults,
    peaked_and_fell,
    still_improving,
    weak_teachers,
)
from mmseg_kd.studies.language import Message, say
from mmseg_kd.studies.statistics import sentence

# Sentences of one kind: more are read in the tables.
MOST = 6
# Percent: a class below is not recognised.
UNSEEN = 1.0


def find(collection: Collection) -> list[Message]:
    """Say what the runs show, the most important first."""
    return [
        *_best(collection),
        *_comparisons(collection),
        *_broken(collection),
        *_teachers(collection),
        *_weights(collection),
        *_losses(collection),
        *_courses(collection),
        *_classes(collection),
        *_edges(collection),
    ]


def _best(collection: Collection) -> Iterator[Message]:
    ranked = collection.ranked
    if not ranked:
        return
    metric, best = collection.metric, ranked[0]
    score = _mean(best, metric)
    values = dict(name=best.name, score=f'{score:.2f}', metric=metric)
    if len(ranked) == 1:
        yield say('{name} reached {score} {metric}.', **values)
        return
    yield say(
        'Highest score: {name} with {score} {metric}, {lead} more than {second}.',
        second=ranked[1].name,
        lead=f'{score - _mean(ranked[1], metric):.2f}',
        **values,
    )


def _comparisons(collection: Collection) -> Iterator[Message]:
    baseline = collection.baseline
    if baseline is None:
        return
    metric = collection.metric
    single = []
    for group in collection.students[:MOST]:
        compared = collection.compare(group)
        values = dict(name=group.name, baseline=baseline.name)
        if compared is not None and compared.verdict == 'one seed':
            single.append((group.name, compared))
        elif compared is not None:
            yield sentence(group.name, baseline.name, metric, compared)
        elif group.runs[0].outside or baseline.runs[0].outside:
            difference = _mean(group, metric) - _mean(baseline, metric)
            yield say(
                '{name}: {mean} {metric} against {baseline}; a table has no seeds, so nothing '
                'more can be said.',
                metric=metric,
                mean=f'{difference:+.2f}',
                **values,
            )
        else:
            yield say(
                '{name} and {baseline} have no finished seed in common and cannot be compared.',
                **values,
            )
    if len(single) == 1:
        yield sentence(single[0][0], baseline.name, metric, single[0][1])
    elif single:
        yield say(
            'From one seed each, which cannot tell a real difference from luck, in {metric} '
            'against {baseline}: {names}.',
            metric=metric,
            baseline=baseline.name,
            names=', '.join(f'{name} {compared.mean:+.2f}' for name, compared in single),
        )
    left = len(collection.students) - MOST
    if left > 0:
        yield say('{count} more runs are compared in the table.', count=left)


def _broken(collection: Collection) -> Iterator[Message]:
    failed = [run for run in collection.runs if run.state == 'failed']
    for run in failed[:MOST]:
        yield say(
            '{name} failed: {error}', name=run_name(run), error=run.error or say('no reason kept')
        )
    if len(failed) > MOST:
        yield say('{count} more runs failed.', count=len(failed) - MOST)
    counts = Counter(run.state for run in collection.runs)
    if count := counts['pruned']:
        yield say('{count} runs were pruned.', count=count)
    if count := counts['waiting']:
        yield say('{count} runs have not begun.', count=count)
    if count := counts['running'] + counts['unfinished']:
        yield say(
            '{count} runs are not finished; they are left out of the statistics.', count=count
        )
    for run in collection.runs:
        where = diverged(run)
        if where is not None:
            yield say(
                '{name} diverged: its loss was not finite at iteration {iteration}.',
                name=run_name(run),
                iteration=where,
            )


def _teachers(collection: Collection) -> Iterator[Message]:
    for checkpoint, (metric, score, baseline, source) in weak_teachers(collection).items():
        yield say(
            'The teacher {checkpoint} does not beat the baseline: {score} {metric} against '
            '{baseline} of {source}. Such a teacher can hardly help.',
            checkpoint=checkpoint,
            score=f'{score:.2f}',
            metric=metric,
            baseline=f'{baseline:.2f}',
            source=source,
        )


def _weights(collection: Collection) -> Iterator[Message]:
    for group in collection.groups:
        matched = next((run.log.pretrained for run in group.runs if run.log.pretrained), None)
        misfit = next((run.log.misfit for run in group.runs if run.log.misfit), None)
        if matched and matched[1] < matched[2]:
            yield say(
                '{name}: of {file} only {matched} of {total} tensors matched the backbone.',
                name=group.name,
                file=matched[0],
                matched=matched[1],
                total=matched[2],
            )
        elif misfit:
            yield say(
                '{name}: its pretrained file does not fit. {missing} tensors of the model found '
                'nothing in it, {unexpected} of the file had no place, so a part of the model '
                'began at random.',
                name=group.name,
                unexpected=misfit[0],
                missing=misfit[1],
            )


def _losses(collection: Collection) -> Iterator[Message]:
    found: dict[tuple[str, str], list[str]] = {}
    for group in collection.groups:
        for loss, (_, fault) in loss_faults(group.runs[0]).items():
            share = '' if fault.share is None else f' ({100 * fault.share:.2g} %)'
            found.setdefault((group.name, fault.condition), []).append(f'{loss}{share}')
    for (name, condition), losses in list(found.items())[:MOST]:
        values = dict(name=name, losses=', '.join(losses))
        if condition == 'cut':
            yield say(
                "{name}: no gradient reaches the backbone's stages, whatever the weight, from: "
                '{losses}.',
                **values,
            )
        elif condition == 'off':
            yield say(
                '{name}: as good as switched off, by their share of the gradient: {losses}.',
                **values,
            )
        else:
            yield say(
                "{name}: swamps the labels' loss, by its share of the gradient: {losses}.", **values
            )


def _courses(collection: Collection) -> Iterator[Message]:
    metric = collection.metric
    shown = _shown(collection)
    rising = [(group.name, still_improving(group, metric)) for group in shown]
    names = [f'{name} (+{found.gain:.2f})' for name, found in rising if found]
    if names:
        yield say(
            'Still improving at the end: {names}. In brackets what the last evaluation has more '
            '{metric} than all before it.',
            names=', '.join(names),
            metric=metric,
        )
    for group in shown:
        if found := peaked_and_fell(group, metric):
            yield say(
                '{name} peaked at iteration {peak} and ended {loss} {metric} lower.',
                name=group.name,
                peak=found.peak,
                loss=f'{found.loss:.2f}',
                metric=metric,
            )


def _classes(collection: Collection) -> Iterator[Message]:
    ranked = collection.ranked
    if not ranked:
        return
    metric, baseline = collection.metric, collection.baseline
    best = next(iter(collection.students), ranked[0])
    own = mean_class_iou(best.best_classes(metric))
    unseen = [name for name, iou in own.items() if iou < UNSEEN]
    if unseen:
        yield say(
            '{name} hardly recognises {classes} (IoU below {limit} %).',
            name=best.name,
            classes=', '.join(unseen[:MOST]),
            limit=f'{UNSEEN:g}',
        )
    if baseline is None or best is baseline:
        return
    other = mean_class_iou(baseline.best_classes(metric))
    deltas = {c: own[c] - other[c] for c in own if c in other and math.isfinite(own[c] - other[c])}
    if deltas:
        up, down = max(deltas, key=deltas.get), min(deltas, key=deltas.get)
        yield say(
            '{name} against {baseline} by class: most gained by {up} ({gain} points of IoU), '
            'least by {down} ({loss}).',
            name=best.name,
            baseline=baseline.name,
            up=up,
            gain=f'{deltas[up]:+.2f}',
            down=down,
            loss=f'{deltas[down]:+.2f}',
        )


def _edges(collection: Collection) -> Iterator[Message]:
    for study in collection.studies:
        best = best_point(collection, study.runs)
        if not study.space or best is None:
            continue
        for key, (value, edge) in at_the_edge(study.space, best.params).items():
            values = dict(key=key, value=f'{value:.4g}')
            if edge == 'lowest':
                yield say(
                    'The best value of {key}, {value}, is the lowest that could be chosen: lower '
                    'ones may be better.',
                    **values,
                )
            else:
                yield say(
                    'The best value of {key}, {value}, is the highest that could be chosen: '
                    'higher ones may be better.',
                    **values,
                )


def _shown(collection: Collection) -> list[Group]:
    """The baseline and the best others."""
    others = [*collection.students, *collection.taught_from]
    first = [collection.baseline] if collection.baseline is not None else []
    return first + others[:MOST]


def _mean(group: Group, metric: str) -> float:
    scores = group.best_scores(metric)
    return fmean(scores) if scores else math.nan
