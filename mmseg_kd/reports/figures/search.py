"""The section on a grid or search: the score over each parameter.

The figures of `optuna.visualization.matplotlib` were tried and not used: their labels overlap, low
scores are pale lines on grey, and slices are coloured by trial number, which means nothing for a
grid.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from mmseg_kd.records.json_lines import is_number
from mmseg_kd.records.message import message
from mmseg_kd.records.study_file import is_logarithmic
from mmseg_kd.reports.comparing.collection import Collection, Group
from mmseg_kd.reports.comparing.differing_settings import setting_text, short_keys
from mmseg_kd.reports.writing.document import Block, Heading, Picture
from mmseg_kd.visualization.canvas import canvas
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
            '{metric} over each parameter, while the others vary too; the circle marks the best.',
            metric=metric,
        )
        heading = message('Search' if study.kind == 'search' else 'Grid')
        blocks += [Heading(heading), Picture(file, caption)]
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
    with canvas(file, 0.4 + 2.3 * rows, vector=True) as figure:
        for i, (key, name) in enumerate(names.items()):
            axes = figure.add_subplot(rows, columns, i + 1, sharey=figure.axes[0] if i else None)
            axes.set_xlabel(fill(name, 30))
            leftmost = i % columns == 0
            axes.tick_params(labelleft=leftmost)
            axes.set_ylabel(f'{metric} [%]' if leftmost else '')
            choices, values = space[key], [point.params.get(key) for point in points]
            ranged = isinstance(choices, Mapping) and 'choices' not in choices
            if ranged and all(map(is_number, values)):
                axes.set_xscale('log' if is_logarithmic(choices) else 'linear')
                # A range that was narrowed leaves points outside.
                axes.set_xlim(min(choices['low'], *values), max(choices['high'], *values))
            else:
                # matplotlib draws texts at 0, 1, 2, ..., in the order in which it first gets them.
                known = choices if isinstance(choices, list) else choices.get('choices', ())
                axes.xaxis.update_units([_label(value) for value in known])
                values = [_label(value) for value in values]
                axes.margins(x=0.2)
            dots = dict(s=22, color=COLOURS[4], alpha=0.6, linewidths=0, clip_on=False)
            axes.scatter(values, scores, **dots)
            ring = dict(s=60, facecolors='none', edgecolors='black', zorder=3, clip_on=False)
            axes.scatter(values[best : best + 1], scores[best : best + 1], **ring)


def _label(value: Any) -> str:
    return fill(setting_text(value), 12)
