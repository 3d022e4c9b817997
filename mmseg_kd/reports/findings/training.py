"""Findings about trainings: which failed, what held them back, how they ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from mmseg_kd.records.message import Message, message
from mmseg_kd.reports.comparing.collection import Collection, run_name
from mmseg_kd.reports.findings import diagnoses

# Sentences of one kind; the tables have the rest.
MOST = 6


def training_findings(collection: Collection) -> Iterator[Message]:
    """Yield failed runs, weak teachers, misfit weights, useless losses, and ends of curves."""
    yield from _failed(collection)
    yield from _states(collection)
    yield from _teachers(collection)
    yield from _weights(collection)
    yield from _losses(collection)
    yield from _courses(collection)


def _failed(collection: Collection) -> Iterator[Message]:
    failed = [run for run in collection.runs if run.state == 'failed']
    for run in failed[:MOST]:
        error = run.error or message('no reason kept')
        yield message('{name} failed: {error}', name=run_name(run), error=error)
    if len(failed) > MOST:
        yield message('{count} more runs failed.', count=len(failed) - MOST)


def _states(collection: Collection) -> Iterator[Message]:
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
        if (iteration := diagnoses.diverged(run)) is not None:
            yield message(
                '{name} diverged: its loss was not finite at iteration {iteration}.',
                name=run_name(run),
                iteration=iteration,
            )


def _teachers(collection: Collection) -> Iterator[Message]:
    for checkpoint, (metric, score, baseline, source) in diagnoses.weak_teachers(
        collection
    ).items():
        yield message(
            'The teacher {checkpoint} does not beat the baseline: {score} {metric} against '
            '{baseline} of {source}. A teacher like this rarely helps.',
            checkpoint=checkpoint,
            score=f'{score:.2f}',
            metric=metric,
            baseline=f'{baseline:.2f}',
            source=source,
        )


def _weights(collection: Collection) -> Iterator[Message]:
    for group in collection.groups:
        logs = [run.log for run in group.runs]
        file, matched, total = next(filter(None, (log.pretrained for log in logs)), ('', 0, 0))
        misfit = next(filter(None, (log.misfit for log in logs)), None)
        if matched < total:
            yield message(
                '{name}: of {file} only {matched} of {total} tensors matched the backbone.',
                name=group.name,
                file=file,
                matched=matched,
                total=total,
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
        for loss, (_, fault) in diagnoses.loss_faults(group.runs[0]).items():
            share = '' if fault.share is None else f' ({100 * fault.share:.2g} %)'
            found.setdefault((group.name, fault.condition), []).append(f'{loss}{share}')
    for (name, condition), losses in list(found.items())[:MOST]:
        values = dict(name=name, losses=', '.join(losses))
        sentences = {
            'cut': message(
                "{name}: no gradient reaches the backbone's stages, whatever the weight, from: "
                '{losses}.',
                **values,
            ),
            'zero': message(
                '{name}: exactly 0 at the end of training, so they taught nothing: {losses}.',
                **values,
            ),
            'off': message(
                '{name}: almost no effect, by their share of the gradient: {losses}.', **values
            ),
        }
        too_much = message(
            "{name}: dominates the labels' loss, by its share of the gradient: {losses}.", **values
        )
        yield sentences.get(condition, too_much)


def _courses(collection: Collection) -> Iterator[Message]:
    metric = collection.metric
    # The baseline and the best others.
    first = [collection.baseline] if collection.baseline is not None else []
    shown = first + [*collection.students, *collection.taught_from][:MOST]
    rising = [(group.name, diagnoses.still_improving(group, metric)) for group in shown]
    names = [f'{name} (+{found.gain:.2f})' for name, found in rising if found]
    if names:
        yield message(
            'Still improving at the end: {names}. In brackets: by how many points of {metric} '
            'the last evaluation exceeds all earlier ones.',
            names=', '.join(names),
            metric=metric,
        )
    for group in shown:
        if found := diagnoses.peaked_and_fell(group, metric):
            yield message(
                '{name} peaked at iteration {peak} and ended {loss} {metric} lower.',
                name=group.name,
                peak=found.peak,
                loss=f'{found.loss:.2f}',
                metric=metric,
            )
