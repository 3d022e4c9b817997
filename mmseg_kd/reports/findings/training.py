"""Findings about trainings: which failed, what held them back, how they ended."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from mmseg_kd.distillation.gradient_diagnosis import Finding, diagnose, full_weight, percent
from mmseg_kd.records.message import Message, message, messages
from mmseg_kd.records.run_record import RunRecord
from mmseg_kd.reports.comparing.collection import Collection, run_name, same_data

# Sentences of one kind; the tables have the rest.
MOST, MOST_FAULTS = 6, 3
# In points. Smaller differences between two evaluations can be chance.
FELL = 1.0
# Fewer evaluations do not show how a training ends.
FEWEST_EVALUATIONS = 3


def loss_faults(run: RunRecord) -> dict[str, tuple[str, Finding]]:
    """Return the distillation losses that have almost no effect, or too much, at the end of a run.

    Returns:
        Config key of the weight, and the finding, by name of the loss.
    """
    weights = {}
    for name, row in run.gradients[-1]['losses'].items() if run.gradients else ():
        weight = run.setting('model', 'kd_losses', name, 'loss_weight')
        weights[name] = full_weight(name, row.get('weight') if weight is None else weight)
    found = diagnose(run.gradients, weights)
    return {name: (weights[name].key, finding) for name, finding in found.items()}


def training_findings(collection: Collection) -> Iterator[Message]:
    """Yield failed runs, misfit weights, useless losses, and ends of curves."""
    yield from _states(collection)
    yield from _diverged(collection)
    yield from _misfits(collection)
    yield from _losses(collection)
    yield from _courses(collection)


def _states(collection: Collection) -> Iterator[Message]:
    failed = [run for run in collection.runs if run.state == 'failed']
    for run in failed[:MOST]:
        error = run.error or message('no reason kept')
        yield message('{name} failed: {error}', name=run_name(run), error=error)
    # An interrupted run of a study waits to be continued.
    states = Counter(
        'unfinished' if run.state == 'waiting' and run.evaluations else run.state
        for run in collection.runs
    )
    begun = states['running'] + states['unfinished']
    lines = (
        message('{count} more runs failed.', count=len(failed) - MOST),
        message('{count} runs have not begun.', count=states['waiting']),
        message('{count} runs are not finished and left out of the comparisons.', count=begun),
    )
    yield from (line for line in lines if line.values['count'] > 0)


def _diverged(collection: Collection) -> Iterator[Message]:
    runs = [(run, run.training) for run in collection.runs if 'loss' in run.training]
    steps = [(run_name(run), x['step'][~np.isfinite(x['loss'])]) for run, x in runs]
    diverged = [(name, int(bad[0])) for name, bad in steps if len(bad)]
    for name, iteration in diverged[:MOST]:
        yield message(
            '{name} diverged: its loss was not finite at iteration {iteration}.',
            name=name,
            iteration=iteration,
        )
    if len(diverged) > MOST:
        yield message('{count} more runs diverged.', count=len(diverged) - MOST)


def _misfits(collection: Collection) -> Iterator[Message]:
    # Stock mmsegmentation trains on after a misfit; this project stops.
    for group in collection.groups:
        for unexpected, missing in [run.log.misfit for run in group.runs if run.log.misfit][:1]:
            yield message(
                '{name}: its pretrained file does not fit. {missing} tensors of the model are not '
                'in the file, {unexpected} of the file are not in the model, so a part of the '
                'model started from random weights.',
                name=group.name,
                unexpected=unexpected,
                missing=missing,
            )


def weak_teachers(collection: Collection) -> Iterator[Message]:
    """Yield teachers that do not beat the baseline."""
    metric, baseline = collection.metric, collection.baseline
    for group, _, card in collection.cards:
        score = card['metrics'].get(metric)
        if baseline is None or not same_data(group.first, baseline.first, 'val_dataloader'):
            continue
        if score is not None and score <= baseline.score:
            names = dict(checkpoint=card['checkpoint'], metric=metric, source=baseline.name)
            yield message(
                'The teacher {checkpoint} does not beat the baseline: {score} {metric} against '
                '{baseline} of {source}. A teacher like this rarely helps.',
                **names | dict(score=f'{score:.2f}', baseline=f'{baseline.score:.2f}'),
            )


def _losses(collection: Collection) -> Iterator[Message]:
    sentences = messages(
        "{name}: no gradient reaches the backbone's stages, at any weight, from: {losses}.",
        '{name}: exactly 0 in the last gradient report, so they taught nothing there: {losses}.',
        '{name}: almost no effect, by their share of the gradient: {losses}.',
        "{name}: dominates the labels' loss, by its share of the gradient: {losses}.",
    )
    by_condition = dict(zip(('cut', 'zero', 'off', 'dominates'), sentences, strict=True))
    found = defaultdict(list)
    for group in collection.ranked:
        for loss, (_, fault) in loss_faults(group.first).items():
            share = '' if fault.share is None else f' ({percent(fault.share)})'
            found[group.name, fault.condition].append(f'{loss}{share}')
    # The worst first; the sort keeps the order of the groups.
    worst = sorted(found.items(), key=lambda item: list(by_condition).index(item[0][1]))
    for (name, condition), losses in worst[:MOST_FAULTS]:
        yield replace(by_condition[condition], values=dict(name=name, losses=', '.join(losses)))


def _courses(collection: Collection) -> Iterator[Message]:
    # The baseline and the best others.
    shown = [collection.baseline] if collection.baseline is not None else []
    for group in [*shown, *[*collection.students, *collection.teachers][:MOST]]:
        iterations, values = group.curves()
        if not group.finished or len(iterations) < FEWEST_EVALUATIONS:
            continue
        means = values.mean(axis=0)
        if (loss := means.max() - means[-1]) >= FELL:
            yield message(
                '{name} peaked at iteration {peak} and ended {loss} {metric} lower.',
                name=group.name,
                peak=int(iterations[means.argmax()]),
                loss=f'{loss:.2f}',
                metric=collection.metric,
            )
