"""The course of the evaluations of all runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from mmseg_kd.reports.comparing.collection import Collection, Group
from mmseg_kd.reports.figures.canvas import Look, canvas, legend, shorten, tidy


def learning_curves(
    collection: Collection,
    looks: Mapping[str, Look],
    teachers: Mapping[str, float],
    file: Path,
) -> None:
    """Draw a metric over the iterations: the mean of the seeds, and from lowest to highest a band.

    Args:
        collection: The runs.
        looks: Of the groups that have a colour; all others are thin and grey.
        teachers: Score of the teachers by name, drawn as horizontal lines.
        file: Where to write the PNG.
    """
    with canvas(file, 4.6) as figure:
        axes = figure.subplots()
        groups = [group for group in collection.groups if group.measured]
        for group in groups:
            if group.name not in looks:
                for run in group.measured:
                    x, y = _curve([run.evaluations], collection.metric)[:2]
                    axes.plot(x, y, color='0.8', linewidth=0.7, zorder=1)
        for group in groups:
            if group.name in looks:
                _draw(axes, group, collection.metric, looks[group.name])
        _draw_teachers(axes, teachers)
        axes.margins(y=0.08)
        tidy(axes, f'{collection.metric} [%], validation', xlabel='iteration')
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=(1, 2, 4, 5, 10)))
        handles = [_handle(group, looks[group.name]) for group in groups if group.name in looks]
        legend(figure, handles, columns=2 if len(handles) > 3 else 3)


def _draw_teachers(axes: Axes, teachers: Mapping[str, float]) -> None:
    for name, score in teachers.items():
        axes.axhline(score, color='0.35', linewidth=1, linestyle=(0, (6, 3)), zorder=1)
        axes.annotate(
            f'{name} {score:.2f}',
            (1, score),
            xycoords=('axes fraction', 'data'),
            xytext=(0, 3),
            textcoords='offset points',
            horizontalalignment='right',
            fontsize=8.5,
            color='0.25',
        )


def _handle(group: Group, look: Look) -> Line2D:
    return Line2D([], [], color=look.colour, linestyle=look.style, linewidth=2, label=_label(group))


def _draw(axes: Axes, group: Group, metric: str, look: Look) -> None:
    x, mean, low, high = _curve([run.evaluations for run in group.counted], metric)
    few = dict(marker='o', markersize=3.5) if len(x) <= 25 else {}
    axes.plot(x, mean, color=look.colour, linestyle=look.style, linewidth=1.8, **few)
    if len(group.counted) > 1:
        axes.fill_between(x, low, high, color=look.colour, alpha=0.15, linewidth=0)


def _curve(
    runs: Sequence[Sequence[Mapping[str, float]]], metric: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Iterations that all runs reached, with mean, lowest and highest value."""
    tables = [
        {row['iteration']: row[metric] for row in rows if math.isfinite(row.get(metric, math.nan))}
        for rows in runs
    ]
    tables = [table for table in tables if table]
    if not tables:
        return (np.empty(0),) * 4
    common = sorted(set.intersection(*map(set, tables))) or sorted(tables[0])
    values = np.array([[t[i] for i in common] for t in tables if set(common) <= set(t)])
    return np.array(common), values.mean(axis=0), values.min(axis=0), values.max(axis=0)


def _label(group: Group) -> str:
    seeds = len(group.counted)
    return shorten(group.name) + (f' ({seeds} seeds)' if seeds > 1 else '')
