"""The section on a grid or search: importances and slices.

The figures of `optuna.visualization.matplotlib` were tried: their labels overlap, low scores are
pale lines on grey, and slices are coloured by trial number, which means nothing for a grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmseg_kd.records.message import message, messages
from mmseg_kd.reports.comparing.collection import Collection
from mmseg_kd.reports.comparing.differing_settings import short_keys
from mmseg_kd.reports.comparing.search_results import (
    Point,
    importances,
    points_of,
    scale_of,
)
from mmseg_kd.reports.writing.document import Block, Heading, Picture, Table, titled
from mmseg_kd.visualization.canvas import canvas, shorten, tidy
from mmseg_kd.visualization.line_styles import COLOURS


def searches(collection: Collection, folder: Path) -> list[Block]:
    """Draw the grids and searches of a collection into a folder."""
    blocks: list[Block] = []
    metric = collection.metric
    for number, study in enumerate(collection.studies, 1):
        points, space = points_of(collection, study), study.space
        if not space or len(points) < 2:
            continue
        file = folder / f'slices_{number}.png'
        slice_plots(points, space, metric, file)
        caption = message(
            '{metric} over each parameter, while the others vary too; the circle marks the best '
            'point.',
            metric=metric,
        )
        alt = message('{metric} over each parameter of the search.', metric=metric)
        blocks += [
            Heading(message('Search' if study.kind == 'search' else 'Grid')),
            Picture(file, caption, alt),
        ]
        names = short_keys(list(space))
        rows = [[names[key], f'{share:.2f}'] for key, share in importances(points, space).items()]
        headings = messages('setting', 'importance (PED-ANOVA)')
        blocks += titled(message('Importance'), Table(headings, rows, f'importance_{number}'), 3)
    return blocks


def slice_plots(points: Sequence[Point], space: Mapping[str, Any], metric: str, file: Path) -> None:
    """Draw the score over each parameter, one panel per parameter.

    Args:
        points: The points.
        space: The choices by dotted key.
        metric: Name of the score.
        file: Where to write the PNG.
    """
    names = short_keys(list(space))
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    scores = np.array([point.score for point in points])
    best = int(scores.argmax())
    ring = dict(s=60, facecolors='none', edgecolors='black', zorder=3)
    with canvas(file, 0.4 + 2.3 * rows, vector=True) as figure:
        panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
        for axes in panels.flat[len(names) :]:
            axes.set_axis_off()
        for axes in panels[:, 0]:
            axes.set_ylabel(f'{metric} [%]')
        for axes, (key, name) in zip(panels.flat, names.items(), strict=False):
            scale = scale_of(points, key, space[key])
            axes.scatter(scale.values, scores, s=22, color=COLOURS[4], alpha=0.6, linewidths=0)
            axes.scatter(scale.values[best], scores[best], **ring)
            tidy(axes, '', xlabel=shorten(name, 30))
            if scale.logarithmic:
                axes.set_xscale('log')
            if scale.names:
                labels = [shorten(choice, 12) for choice in scale.names]
                axes.set_xticks(range(len(labels)), labels, fontsize=8)
                axes.set_xlim(-0.5, len(labels) - 0.5)
