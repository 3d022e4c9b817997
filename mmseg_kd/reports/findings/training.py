"""How the trainings went: which broke, what held them back, how they ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from mmseg_kd.records.message import Message, message
from mmseg_kd.reports.comparing.collection import Collection, Group, run_name
from mmseg_kd.reports.findings.diagnoses import (
    diverged,
    loss_faults,
    peaked_and_fell,
    still_improving,
    weak_teachers,
)

# Sentences of one kind: more are read in the tables.
MOST = 6


def training_findings(collection: Collection) -> Iterator[Message]:
    """Broken runs, weak teachers, weights that did not arrive, useless losses, and courses."""
    yield from _broken(collection)
    yield from _teachers(collection)
    yield from _weights(collection)
    yield from _losses(collection)
    yield from _courses(collection)


def _broken(collection: Collection) -> Iterator[Message]:
    failed = [run for run in collection.runs if run.state == 'failed']
    for run in failed[:MOST]:
        yield message(
            '{name} failed: {error}',
            name=run_name(run),
            error=run.error or message('no reason kept'),
        )
    if len(failed) > MOST:
        yield message('{count} more runs failed.', count=len(failed) - MOST)
    counts = Counter(run.state for run in collection.runs)
    if count := counts['pruned']:
        yield message('{count} runs were pruned.', count=count)
    if count := counts['waiting']:
        yield message('{count} runs have not begun.', count=count)
    if count := counts['running'] + counts['unfinished']:
        yield message(
            '{count} runs are not finished; they are left out of the statistics.', count=count
        )
    for run in collection.runs:
        where = diverged(run)
        if where is not None:
            yield message(
                '{name} diverged: its loss was not finite at iteration {iteration}.',
                name=run_name(run),
                iteration=where,
            )


def _teachers(collection: Collection) -> Iterator[Message]:
    for checkpoint, (metric, score, baseline, source) in weak_teachers(collection).items():
        yield message(
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
            yield message(
                '{name}: of {file} only {matched} of {total} tensors matched the backbone.',
                name=group.name,
                file=matched[0],
                matched=matched[1],
                total=matched[2],
            )
        elif misfit:
            yield message(
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
            yield message(
                "{name}: no gradient reaches the backbone's stages, whatever the weight, from: "
                '{losses}.',
                **values,
            )
        elif condition == 'zero':
            yield message(
                '{name}: exactly 0 at the end of training, so they taught nothing: {losses}.',
                **values,
            )
        elif condition == 'off':
            yield message(
                '{name}: as good as switched off, by their share of the gradient: {losses}.',
                **values,
            )
        else:
            yield message(
                "{name}: swamps the labels' loss, by its share of the gradient: {losses}.", **values
            )


def _courses(collection: Collection) -> Iterator[Message]:
    metric = collection.metric
    shown = _shown(collection)
    rising = [(group.name, still_improving(group, metric)) for group in shown]
    names = [f'{name} (+{found.gain:.2f})' for name, found in rising if found]
    if names:
        yield message(
            'Still improving at the end: {names}. In brackets what the last evaluation has more '
            '{metric} than all before it.',
            names=', '.join(names),
            metric=metric,
        )
    for group in shown:
        if found := peaked_and_fell(group, metric):
            yield message(
                '{name} peaked at iteration {peak} and ended {loss} {metric} lower.',
                name=group.name,
                peak=found.peak,
                loss=f'{found.loss:.2f}',
                metric=metric,
            )


def _shown(collection: Collection) -> list[Group]:
    """The baseline and the best others."""
    others = [*collection.students, *collection.taught_from]
    first = [collection.baseline] if collection.baseline is not None else []
    return first + others[:MOST]
