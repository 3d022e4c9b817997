"""Tables of what a run is and costs: settings, teachers, time and memory, files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mmseg_kd.paths import relative
from mmseg_kd.records.message import Text, message
from mmseg_kd.records.run_record import RunRecord
from mmseg_kd.reports.comparing.collection import Collection, Group
from mmseg_kd.reports.comparing.differing_settings import differing_settings
from mmseg_kd.reports.sections.score_tables import NONE, group_label, mean_of, number, span
from mmseg_kd.reports.writing.document import Table

# With more runs than these a column each would be too narrow to read.
MOST_COLUMNS = 6


def settings_table(collection: Collection) -> tuple[Table, str | None] | None:
    """Settings in which the groups differ, and the group that a long table compares with.

    Up to six groups have a column each. More have a row each, with what differs from the
    baseline, or from the first, whose name comes with the table. None where nothing differs.
    """
    groups = [group for group in collection.groups if group.runs[0].config]
    configs = [group.runs[0].config for group in groups]
    settings = differing_settings(configs) if len(groups) > 1 else {}
    if not settings:
        return None
    if len(groups) <= MOST_COLUMNS:
        rows: list[list[Text]] = [[key, *texts] for key, texts in settings.items()]
        columns = frozenset(range(len(groups) + 1))
        return Table(
            [message('setting'), *(g.name for g in groups)], rows, text_columns=columns
        ), None
    first = collection.baseline if collection.baseline in groups else groups[0]
    rows = []
    for group, config in zip(groups, configs, strict=True):
        own = differing_settings([first.runs[0].config, config])
        texts = '\n'.join(f'{key} = {text}' for key, (_, text) in own.items())
        rows.append([group.name, texts or NONE])
    return Table(
        [message('run'), message('settings')], rows, text_columns=frozenset({0, 1})
    ), first.name


def teacher_table(collection: Collection) -> Table | None:
    """The cards of all teachers, one row for a file on one split."""
    cards: dict[tuple, tuple[str, dict[str, Any]]] = {}
    for group in collection.groups:
        for run in group.runs:
            for name, card in run.teachers.items():
                key = (card.get('sha256'), card.get('data'))
                cards.setdefault(key, (f'{group.name}: {name}', card))
    if not cards:
        return None
    metrics = list(
        dict.fromkeys(name for _, card in cards.values() for name in card.get('metrics') or {})
    )
    rows = []
    for name, card in cards.values():
        scores = card.get('metrics') or {}
        same: dict[bool | None, Text] = {True: message('yes'), False: message('no')}
        rows.append(
            [
                name,
                *(number(scores.get(metric)) for metric in metrics),
                number(card.get('entropy'), '.3f'),
                number(card.get('ece'), '.3f'),
                same.get(card.get('deterministic'), NONE),
                f'{card.get("checkpoint", NONE)} (sha256 {str(card["sha256"])[:8]})',
            ]
        )
    headings = [
        message('student: teacher'),
        *metrics,
        message('entropy'),
        message('ECE'),
        message('deterministic'),
        message('checkpoint'),
    ]
    return Table(headings, rows, text_columns=frozenset({0, len(headings) - 1}))


def cost_table(collection: Collection) -> Table | None:
    """Time, memory and throughput, means over a group's runs; None where nothing was logged."""
    groups = [g for g in collection.groups if any(len(r.training.get('step', ())) for r in g.runs)]
    rows = [
        [
            group.name,
            span([int(run.training['step'][-1]) for run in _logged(group)]),
            mean_of([seconds_per_iteration(run) for run in _logged(group)], '.3f'),
            mean_of([throughput(run) for run in _logged(group)], '.1f'),
            _duration([run.log.seconds for run in _logged(group)]),
            _memory(group),
            next((run.log.device for run in _logged(group) if run.log.device), NONE),
        ]
        for group in groups
    ]
    headings = [
        message('run'),
        message('iterations'),
        message('s per iteration'),
        message('images/s'),
        message('time in all'),
        message('GPU memory'),
        message('device'),
    ]
    return Table(headings, rows, text_columns=frozenset({0, 6})) if rows else None


def checkpoint_table(collection: Collection) -> Table | None:
    """Where the best checkpoint of each run is, and what that very file scores."""
    rows = [
        [group_label(group, run), number(found[1]), relative(found[0])]
        for group in collection.groups
        for run in group.runs
        if not run.outside and (found := run.best_checkpoint(collection.metric))
    ]
    headings = [message('run'), collection.metric, message('checkpoint')]
    return Table(headings, rows, text_columns=frozenset({0, 2})) if rows else None


def seconds_per_iteration(run: RunRecord) -> float | None:
    """Median of the logged times; the first ones, which warm up, do not count that way."""
    times = run.training.get('time')
    if times is None or not np.isfinite(times).any():
        return None
    return float(np.nanmedian(times))


def throughput(run: RunRecord) -> float | None:
    """Images a second of all processes together; None where the batch is not known."""
    seconds = seconds_per_iteration(run)
    batch = run.whole_number('train_dataloader', 'batch_size')
    if not seconds or batch is None:
        return None
    return batch * run.log.processes / seconds


def _logged(group: Group) -> list[RunRecord]:
    return [run for run in group.runs if len(run.training.get('step', ()))]


def _memory(group: Group) -> str:
    peaks = [
        float(np.nanmax(run.training['memory']))
        for run in _logged(group)
        if np.isfinite(run.training.get('memory', np.array([math.nan]))).any()
    ]
    return f'{max(peaks) / 1024:.1f} GiB' if peaks and max(peaks) else NONE


def _duration(seconds: Sequence[float | None]) -> str:
    there = [s for s in seconds if s is not None]
    if not there:
        return NONE
    mean = round(sum(there) / len(there))
    return f'{mean // 3600}:{mean // 60 % 60:02}:{mean % 60:02}'
