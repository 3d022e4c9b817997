"""Tables of facts about runs: settings, teachers, time and memory, checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmseg_kd.paths import relative
from mmseg_kd.records.message import Text, message, messages
from mmseg_kd.records.run_record import RunRecord
from mmseg_kd.reports.comparing.collection import Collection
from mmseg_kd.reports.comparing.differing_settings import differing_settings
from mmseg_kd.reports.sections.score_tables import NONE, group_label, mean_of, number, span
from mmseg_kd.reports.writing.document import Table

# With more runs, a column for each would be too narrow.
MOST_COLUMNS = 6


def settings_table(collection: Collection) -> tuple[Table, str | None] | None:
    """Return the settings in which the groups differ, and the group they are compared with.

    Up to six groups have a column each. More have a row each, with what differs from the
    baseline, or from the first, whose name comes with the table. None if nothing differs.
    """
    groups = [group for group in collection.groups if group.runs[0].config]
    configs = [group.runs[0].config for group in groups]
    settings = differing_settings(configs) if len(groups) > 1 else {}
    if not settings:
        return None
    if len(groups) <= MOST_COLUMNS:
        rows: list[list[Text]] = [[key, *texts] for key, texts in settings.items()]
        headings = [message('setting'), *(group.name for group in groups)]
        return Table(headings, rows, text_columns=frozenset(range(len(headings)))), None
    first = collection.baseline if collection.baseline in groups else groups[0]
    rows = []
    for group, config in zip(groups, configs, strict=True):
        own = differing_settings([first.runs[0].config, config])
        texts = '\n'.join(f'{key} = {text}' for key, (_, text) in own.items())
        rows.append([group.name, texts or NONE])
    return Table(messages('run', 'settings'), rows, text_columns=frozenset({0, 1})), first.name


def teacher_table(collection: Collection) -> Table | None:
    """Return the reports on all teachers, one row per file and split."""
    cards: dict[tuple, tuple[str, dict[str, Any]]] = {}
    for group in collection.groups:
        for name, card in (item for run in group.runs for item in run.teachers.items()):
            key = (card.get('sha256'), card.get('data'))
            cards.setdefault(key, (f'{group.name}: {name}', card))
    if not cards:
        return None
    scores = [card.get('metrics') or {} for _, card in cards.values()]
    metrics = list(dict.fromkeys(name for row in scores for name in row))
    same: dict[bool | None, Text] = {True: message('yes'), False: message('no')}
    rows = [
        [
            name,
            *(number(row.get(metric)) for metric in metrics),
            number(card.get('entropy'), '.3f'),
            number(card.get('ece'), '.3f'),
            same.get(card.get('deterministic'), NONE),
            f'{card.get("checkpoint", NONE)} (sha256 {card["sha256"][:8]})',
        ]
        for (name, card), row in zip(cards.values(), scores, strict=True)
    ]
    facts = messages('entropy', 'ECE', 'deterministic', 'checkpoint')
    headings = [message('student: teacher'), *metrics, *facts]
    return Table(headings, rows, text_columns=frozenset({0, len(headings) - 1}))


def cost_table(collection: Collection) -> Table | None:
    """Return time, memory and throughput, means over a group's runs; None if nothing is logged."""
    rows = []
    for group in collection.groups:
        runs = [run for run in group.runs if len(run.training.get('step', ()))]
        if not runs:
            continue
        rows.append(
            [
                group.name,
                span([int(run.training['step'][-1]) for run in runs]),
                mean_of([seconds_per_iteration(run) for run in runs], '.3f'),
                mean_of([throughput(run) for run in runs], '.1f'),
                _duration([run.log.seconds for run in runs]),
                _memory(runs),
                next((run.log.device for run in runs if run.log.device), NONE),
            ]
        )
    headings = messages(
        'run', 'iterations', 's per iteration', 'images/s', 'total time', 'GPU memory', 'device'
    )
    return Table(headings, rows, text_columns=frozenset({0, 6})) if rows else None


def checkpoint_table(collection: Collection) -> Table | None:
    """Return the best checkpoint of each run, and the score of that very file."""
    rows = [
        [group_label(group, run), number(found[1]), relative(found[0])]
        for group in collection.groups
        for run in group.runs
        if not run.outside and (found := run.best_checkpoint(collection.metric))
    ]
    headings = [message('run'), collection.metric, message('checkpoint')]
    return Table(headings, rows, text_columns=frozenset({0, 2})) if rows else None


def seconds_per_iteration(run: RunRecord) -> float | None:
    """Return the median of the logged times, which ignores the slow first ones."""
    times = run.training.get('time')
    return None if times is None or not np.isfinite(times).any() else float(np.nanmedian(times))


def throughput(run: RunRecord) -> float | None:
    """Return the images per second of all processes together; None if the batch is not known."""
    seconds = seconds_per_iteration(run)
    batch = run.whole_number('train_dataloader', 'batch_size')
    return batch * run.log.processes / seconds if seconds and batch is not None else None


def _memory(runs: Sequence[RunRecord]) -> str:
    logged = [run.training['memory'] for run in runs if 'memory' in run.training]
    peak = max((column[np.isfinite(column)].max(initial=0) for column in logged), default=0)
    return f'{peak / 1024:.1f} GiB' if peak else NONE


def _duration(seconds: Sequence[float | None]) -> str:
    known = [s for s in seconds if s is not None]
    if not known:
        return NONE
    mean = round(sum(known) / len(known))
    return f'{mean // 3600}:{mean // 60 % 60:02}:{mean % 60:02}'
