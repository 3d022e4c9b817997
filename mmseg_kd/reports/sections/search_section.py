"""The section on a grid or search: importances, slices and parallel coordinates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmseg_kd.records.message import message
from mmseg_kd.reports.comparing.collection import Collection
from mmseg_kd.reports.comparing.search_results import FEWEST_POINTS, Point, importances, points_of
from mmseg_kd.reports.figures import search
from mmseg_kd.reports.writing.document import Block, Heading, Paragraph, Picture


def search_section(collection: Collection, folder: Path) -> list[Block]:
    """Draw the grids and searches of a collection into a folder."""
    blocks: list[Block] = []
    for number, study in enumerate(collection.studies, 1):
        points, space, metric = points_of(collection, study), study.space, collection.metric
        if not space or len(points) < 2:
            continue
        importance, slices, parallel = (
            folder / f'{name}_{number}.png' for name in ('importance', 'slices', 'parallel')
        )
        search.slice_plots(points, space, metric, slices)
        search.parallel_coordinates(points, space, metric, parallel)
        caption = message(
            '{metric} over each parameter, while the others vary too; the circle marks the best '
            'point.',
            metric=metric,
        )
        blocks += [
            Heading(message('Search' if study.kind == 'search' else 'Grid')),
            _importance(points, space, importance),
            Picture(slices, caption),
            Picture(parallel, message('Each line is a point; the brighter, the better.')),
        ]
        if len(space) > search.MOST_AXES:
            text = message(
                'The slices show the first {slices} of {count} parameters, the parallel '
                'coordinates the first {axes}.',
                count=len(space),
                slices=min(search.MOST_SLICES, len(space)),
                axes=search.MOST_AXES,
            )
            blocks.append(Paragraph(text, remark=True))
    return blocks


def _importance(points: Sequence[Point], space: Mapping[str, Any], file: Path) -> Block:
    count = len(points)
    shares = importances(points, space)
    if not shares:
        text = message(
            'Importances need at least {needed} points of different score; there are {count}.',
            needed=FEWEST_POINTS,
            count=count,
        )
        return Paragraph(text, remark=True)
    search.importance_bars(shares, file)
    caption = message(
        'Share of each parameter in what made a point one of the best, of {count} points '
        '(PED-ANOVA).',
        count=count,
    )
    return Picture(file, caption)
