"""The section on a grid or search: the score over each parameter.

The figures of `optuna.visualization.matplotlib` were tried: their labels overlap, low scores are
pale lines on grey, and slices are coloured by trial number, which means nothing for a grid.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmseg_kd.records.json_lines import is_number
from mmseg_kd.records.message import message
from mmseg_kd.records.study_file import is_logarithmic
from mmseg_kd.reports.comparing.collection import Collection, Group
from mmseg_kd.reports.comparing.differing_settings import setting_text, short_keys
from mmseg_kd.reports.writing.document import Block, Heading, Picture
from mmseg_kd.visualization.canvas import canvas, shorten, tidy
from mmseg_kd.visualization.line_styles import COLOURS


def searches(collection: Collection, folder: Path) -> list[Block]:
    """Draw the grids and searches of a collection into a folder."""
    blocks: list[Block] = []
    metric = collection.metric
    for number, study in enumerate(collection.studies, 1):
        points, space = collection.points(study), study.space
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
    return blocks


def slice_plots(points: Sequence[Group], space: Mapping[str, Any], metric: str, file: Path) -> None:
    """Draw the score over each parameter, one panel per parameter.

    Args:
        points: The groups of its points.
        space: The choices by dotted key.
        metric: Name of the score.
        file: Where to write the PNG.
    """
    names = short_keys(list(space))
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    scores = [point.score for point in points]
    best = scores.index(max(scores))
    ring = dict(s=60, facecolors='none', edgecolors='black', zorder=3)
    with canvas(file, 0.4 + 2.3 * rows, vector=True) as figure:
        panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
        for axes in panels.flat[len(names) :]:
            axes.set_axis_off()
        for axes in panels[:, 0]:
            axes.set_ylabel(f'{metric} [%]')
        for axes, (key, name) in zip(panels.flat, names.items(), strict=False):
            choices, values = space[key], [point.params.get(key) for point in points]
            ranged = isinstance(choices, Mapping) and 'choices' not in choices
            if ranged and all(map(is_number, values)):
                axes.set_xscale('log' if is_logarithmic(choices) else 'linear')
            else:
                known = choices if isinstance(choices, list) else choices.get('choices', ())
                texts = list(dict.fromkeys(map(setting_text, [*known, *values])))
                values = [texts.index(setting_text(value)) for value in values]
                labels = [shorten(text, 12) for text in texts]
                axes.set_xticks(range(len(labels)), labels, fontsize=8)
                axes.set_xlim(-0.5, len(labels) - 0.5)
            axes.scatter(values, scores, s=22, color=COLOURS[4], alpha=0.6, linewidths=0)
            axes.scatter(values[best], scores[best], **ring)
            tidy(axes, '', xlabel=shorten(name, 30))
