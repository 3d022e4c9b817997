"""The section on classes: IoU of every class, and confusion matrices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.patches import Patch

from mmseg_kd.records.class_scores import mean_class_iou
from mmseg_kd.records.message import message
from mmseg_kd.reports.comparing.collection import Collection
from mmseg_kd.reports.figures.looks import first_groups, line_styles
from mmseg_kd.reports.writing.document import Block, Heading, Picture
from mmseg_kd.visualization.canvas import canvas, legend, shorten, tidy
from mmseg_kd.visualization.confusion_figure import draw_confusion

MOST_BARS, MOST_MATRICES = 4, 2
# Bars of one colour are told apart by these, lines by their style.
HATCHES = {'-': '', '--': '////', ':': '....'}

Scores = dict[str, dict[str, float]]


def classes(collection: Collection, folder: Path) -> list[Block]:
    """Draw the IoU by class of a few runs, and confusion matrices."""
    groups = [group for group in first_groups(collection, MOST_BARS) if group.classes]
    if not groups:
        return []
    means = {group: mean_class_iou([row for _, row in group.classes]) for group in groups}
    # Runs on other classes have no place in the same figure.
    alike = [group for group in groups if list(means[group]) == list(means[groups[0]])]
    scores = {group.name: means[group] for group in alike}
    deltas = {g.name: row for g in alike if (row := collection.class_differences(g))}
    file = folder / 'class_iou.png'
    _class_iou_bars(collection, scores, deltas, file)
    caption = message(
        'IoU by class over all classes, means of the seeds, at the best evaluation of each, and '
        'the difference to the baseline if there is one.'
    )
    blocks = [Heading(message('Classes')), Picture(file, caption)]
    first = [(group.name, group.classes[0][1]) for group in groups]
    first = [(name, row) for name, row in first if row.confusion is not None]
    for i, (name, row) in enumerate(first[:MOST_MATRICES], 1):
        file = folder / f'confusion_{i}.png'
        with canvas(file) as figure:
            title = f'{name}, iteration {row.iteration}'
            draw_confusion(figure, row.confusion, list(row.iou), title)
        caption = message(
            '{name}: percent of the pixels of each true class (row) that are predicted as '
            'each class (column). Values below 0.5 off the diagonal are blank.',
            name=name,
        )
        blocks.append(Picture(file, caption))
    return blocks


def _class_iou_bars(collection: Collection, scores: Scores, deltas: Scores, file: Path) -> None:
    """Draw a bar for each class and run and, in a second panel, its difference to the baseline."""
    looks = line_styles(collection)
    names = list(next(iter(scores.values())))
    fills = {
        name: dict(facecolor=looks[name]['color'], hatch=HATCHES[looks[name]['linestyle']])
        for name in scores
    }
    height = 1.3 + len(names) * max(0.26, 0.13 * len(scores) + 0.08)
    with canvas(file, height) as figure:
        panels = figure.subplots(1, 2 if deltas else 1, sharey=True, squeeze=False)[0]
        for axes, part in zip(panels, (scores, deltas), strict=False):
            thickness = 0.8 / len(part)
            for i, (name, row) in enumerate(part.items()):
                places = np.arange(len(names)) + (i - (len(part) - 1) / 2) * thickness
                widths = [row.get(c, np.nan) for c in names]
                style = dict(edgecolor='white', linewidth=0, **fills[name])
                axes.barh(places, widths, height=thickness * 0.9, **style)
            axes.axvline(0, color='black', linewidth=0.8)
        tidy(panels[0], f'IoU [%] at the best {collection.metric}', xlim=(0, 100))
        if deltas:
            tidy(panels[1], f'difference to {shorten(collection.baseline.name)} [points]')
        panels[0].set_yticks(range(len(names)), names)
        panels[0].set_ylim(len(names) - 0.5, -0.5)
        for axes in panels:
            axes.grid(visible=False, axis='y')
        bars = [Patch(label=shorten(n), edgecolor='white', **fill) for n, fill in fills.items()]
        legend(figure, bars, 2)
