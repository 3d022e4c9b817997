"""Evaluations and training curves from the scalars that a run logged."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from mmseg_kd.records.json_lines import read_json_lines
from mmseg_kd.records.message import Message, message

NO_METRICS = ('step', 'iter', 'epoch', 'time', 'data_time', 'memory')


def read_scalars(
    files: Iterable[Path],
) -> tuple[list[dict[str, float]], dict[str, np.ndarray], list[Message]]:
    """Read the `scalars.json` of all starts of a run.

    Args:
        files: In order of the starts. Of two rows of one step and kind the later one counts.

    Returns:
        The evaluations by iteration, each a dict with `iteration`, the metrics and, where it is
        known, `lr`; the columns of the training rows by name, among them `step`, NaN where a row
        has no such value; and notes on what could not be read.

    Raises:
        OSError: A file cannot be read.
    """
    training: dict[int, dict[str, Any]] = {}
    evaluations: dict[int, dict[str, float]] = {}
    notes = []
    for file in files:
        rows, broken = read_json_lines(file)
        if broken:
            notes.append(
                message(
                    '{file}: {count} lines are no JSON and were left out (the first is line '
                    '{line}).',
                    file=file.as_posix(),
                    count=len(broken),
                    line=broken[0],
                )
            )
        for row in rows:
            step = row.get('step')
            if type(step) is not int:
                continue
            # Most rows are of training; their values are looked at by column.
            if any(k.startswith('mIoU') and type(row[k]) in (float, int) for k in row):
                evaluations[step] = {k: v for k, v in row.items() if type(v) in (float, int)}
            elif type(row.get('loss')) in (float, int):
                training[step] = row
    columns = _columns([training[step] for step in sorted(training)])
    return (
        [_evaluation(step, evaluations[step], columns) for step in sorted(evaluations)],
        columns,
        notes,
    )


def _columns(rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row))
    columns = {}
    for name in names:
        values = [row.get(name) for row in rows]
        numbers = [v if type(v) in (float, int) else None for v in values]
        if any(v is not None for v in numbers):
            columns[name] = np.array(numbers, dtype=float)
    return columns


def _evaluation(
    step: int, row: dict[str, float], training: dict[str, np.ndarray]
) -> dict[str, float]:
    found = {'iteration': step} | {k: v for k, v in row.items() if k not in NO_METRICS}
    if 'lr' not in found and 'lr' in training:
        before = np.searchsorted(training['step'], step, side='right')
        if before:
            found['lr'] = float(training['lr'][before - 1])
    return found
