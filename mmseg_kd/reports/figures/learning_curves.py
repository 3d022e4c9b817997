"""A figure of the evaluations of all runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mmseg_kd.reports.comparing.collection import Collection, Group
from mmseg_kd.visualization.canvas import (
    canvas,
    guide_line,
    iteration_axis,
    line_legend,
    shorten,
    tidy,
)
from mmseg_kd.visualization.line_styles import LineStyle


def learning_curves(
    collection: Collection,
    looks: Mapping[str, LineStyle],
    teachers: Mapping[str, float],
    file: Path,
) -> None:
    """Draw a metric over the iterations: the mean over the seeds, and a band from low to high.

    Args:
        collection: The runs.
        looks: Line styles of the groups that have a colour; all others are thin and grey.
        teachers: Score of the teachers by name, drawn as horizontal lines.
        file: Where to write the PNG.
    """
    metric = collection.metric
    with canvas(file, 4.6) as figure:
        axes = figure.subplots()
        handles = {}
        for group in filter(lambda group: group.measured, collection.groups):
            look = looks.get(group.name)
            if look is None:
                for run in group.measured:
                    iterations, values = Group(run.name, [run]).curves(metric)
                    axes.plot(iterations, values.T, color='0.8', linewidth=0.7, zorder=1)
                continue
            handles[_label(group)] = look
            iterations, values = group.curves(metric)
            if not len(values):
                continue
            marker = 'o' if len(iterations) <= 25 else None
            line = dict(marker=marker, markersize=3.5, linewidth=1.8)
            axes.plot(iterations, values.mean(axis=0), **line, **look)
            if len(values) > 1:
                band = (values.min(axis=0), values.max(axis=0))
                axes.fill_between(iterations, *band, color=look['color'], alpha=0.15, linewidth=0)
        for name, score in teachers.items():
            guide_line(axes, score, f'{name} {score:.2f}')
        axes.margins(y=0.08)
        tidy(axes, f'{metric} [%], validation')
        iteration_axis(axes)
        line_legend(figure, handles, columns=2 if len(handles) > 3 else 3)


def _label(group: Group) -> str:
    seeds = len(group.counted)
    return shorten(group.name) + (f' ({seeds} seeds)' if seeds > 1 else '')
