"""Findings about trainings: which failed, what held them back, how they ended."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from mmseg_kd.records.message import Message, message, messages
from mmseg_kd.reports.comparing.collection import Collection, run_name
from mmseg_kd.reports.findings.diagnoses import course, loss_faults

# Sentences of one kind; the tables have the rest.
MOST, MOST_FAULTS = 6, 3


def training_findings(collection: Collection) -> Iterator[Message]:
    """Yield failed runs, misfit weights, useless losses, and ends of curves."""
    yield from _states(collection)
    yield from _diverged(collection)
    yield from _pretrained(collection)
    yield from _losses(collection)
    yield from _courses(collection)


def _states(collection: Collection) -> Iterator[Message]:
    failed = [run for run in collection.runs if run.state == 'failed']
    for run in failed[:MOST]:
        error = run.error or message('no reason kept')
        yield message('{name} failed: {error}', name=run_name(run), error=error)
    states = Counter(run.state for run in collection.runs)
    unfinished = states['running'] + states['unfinished']
    counts = (len(failed) - MOST, states['waiting'], unfinished)
    sentences = messages(
        '{count} more runs failed.',
        '{count} runs have not begun.',
        '{count} runs are not finished; they are left out of the statistics.',
    )
    for sentence, count in zip(sentences, counts, strict=True):
        if count > 0:
            yield replace(sentence, values=dict(count=count))


def _diverged(collection: Collection) -> Iterator[Message]:
    for run in collection.runs:
        bad = np.flatnonzero(~np.isfinite(run.training.get('loss', ())))
        if len(bad):
            yield message(
                '{name} diverged: its loss was not finite at iteration {iteration}.',
                name=run_name(run),
                iteration=int(run.training['step'][bad[0]]),
            )


def weak_teachers(collection: Collection) -> Iterator[Message]:
    """Yield teachers that do not beat the baseline."""
    metric, baseline = collection.metric, collection.baseline
    cards = (card for run in collection.runs for card in run.teachers.values())
    for checkpoint, card in {card.get('checkpoint'): card for card in cards}.items():
        score = (card.get('metrics') or {}).get(metric)
        if baseline is not None and score is not None and score <= baseline.score:
            yield message(
                'The teacher {checkpoint} does not beat the baseline: {score} {metric} against '
                '{baseline} of {source}. A teacher like this rarely helps.',
                checkpoint=checkpoint,
                metric=metric,
                source=baseline.name,
                score=f'{score:.2f}',
                baseline=f'{baseline.score:.2f}',
            )


def _pretrained(collection: Collection) -> Iterator[Message]:
    for group in collection.groups:
        logs = [run.log for run in group.runs]
        file, matched, total = next(filter(None, (log.pretrained for log in logs)), ('', 0, 0))
        misfit = next(filter(None, (log.misfit for log in logs)), None)
        if matched < total:
            values = dict(name=group.name, file=file, matched=matched, total=total)
            yield message(
                '{name}: of {file} only {matched} of {total} tensors matched the backbone.',
                **values,
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
    sentences = messages(
        "{name}: no gradient reaches the backbone's stages, at any weight, from: {losses}.",
        '{name}: exactly 0 at the end of training, so they taught nothing: {losses}.',
        '{name}: almost no effect, by their share of the gradient: {losses}.',
        "{name}: dominates the labels' loss, by its share of the gradient: {losses}.",
    )
    by_condition = dict(zip(('cut', 'zero', 'off', 'dominates'), sentences, strict=True))
    found = defaultdict(list)
    for group in collection.ranked:
        for loss, (_, fault) in loss_faults(group.runs[0]).items():
            share = '' if fault.share is None else f' ({100 * fault.share:.2g} %)'
            found[group.name, fault.condition].append(f'{loss}{share}')
    for (name, condition), losses in list(found.items())[:MOST_FAULTS]:
        yield replace(by_condition[condition], values=dict(name=name, losses=', '.join(losses)))


def _courses(collection: Collection) -> Iterator[Message]:
    # The baseline and the best others.
    shown = [collection.baseline] if collection.baseline is not None else []
    shown += [*collection.students, *collection.taught_from][:MOST]
    courses = [(group.name, course(group)) for group in shown]
    if names := [f'{name} (+{end.gain:.2f})' for name, end in courses if end.gain]:
        yield message(
            'Still improving at the end: {names}. In brackets: by how many points of {metric} '
            'the last evaluation exceeds all earlier ones.',
            names=', '.join(names),
            metric=collection.metric,
        )
    for name, end in courses:
        if end.loss:
            lower = f'{end.loss:.2f}'
            values = dict(name=name, peak=end.peak, loss=lower, metric=collection.metric)
            yield message(
                '{name} peaked at iteration {peak} and ended {loss} {metric} lower.', **values
            )
