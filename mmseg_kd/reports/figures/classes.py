"""The section on classes: IoU of every class, and the difference of the confusion matrices."""

from pathlib import Path
from textwrap import fill

import numpy as np

from mmseg_kd.records.class_scores import mean_class_iou
from mmseg_kd.records.message import message, number
from mmseg_kd.reports.comparing.collection import Collection, Group
from mmseg_kd.reports.figures.curves import LEGEND, first_groups, line_styles
from mmseg_kd.reports.writing.document import Block, Heading, Picture, Table, titled
from mmseg_kd.visualization.canvas import NAME_WIDTH, canvas
from mmseg_kd.visualization.confusion_figure import draw_confusion

MOST_RUNS = 4

Scores = dict[str, dict[str, float]]


def classes(collection: Collection, folder: Path) -> list[Block]:
    """Draw the IoU by class of a few runs, and what the best student confuses differently."""
    groups = [group for group in first_groups(collection, MOST_RUNS) if group.classes]
    if not groups:
        return []
    means = {group: mean_class_iou([row for _, row in group.classes]) for group in groups}
    names = list(means[groups[0]])
    # Runs with other classes do not fit into the same figure.
    alike = [group for group in groups if list(means[group]) == names]
    scores = {group.name: means[group] for group in alike}
    deltas = {g.name: row for g in alike if (row := collection.class_differences(g))}
    file = folder / 'class_iou.png'
    _draw_class_iou(collection, scores, deltas, file)
    caption = message(
        'IoU by class, means of the seeds, at the best evaluation of each, and the difference to '
        'the baseline if there is one.'
    )
    rows = [[c, *(number(row.get(c)) for row in scores.values())] for c in names]
    table = Table([message('class'), *scores], rows, 'class_iou')
    return [
        Heading(message('Classes')),
        Picture(file, caption),
        *titled(message('IoU by class'), table, 3),
        *(_confusions(collection, collection.best, folder) if collection.best else []),
    ]


def _confusions(collection: Collection, best: Group, folder: Path) -> list[Block]:
    """Draw the confusion matrix of the best student minus that of the baseline."""
    pairs = [
        (own.confusion, base.confusion)
        for own, base in collection.paired_classes(best)
        if list(own.iou) == list(base.iou)
        and not any(scores.confusion is None for scores in (own, base))
    ]
    if not pairs:
        return []
    matrix, baseline = (sum(parts) for parts in zip(*pairs, strict=True))
    names = dict(name=best.name, baseline=collection.baseline.name)
    title = message('{name} minus {baseline}', **names)
    caption = message(
        'Difference in the percent of the pixels of each true class (row) that are predicted as '
        'each class (column), over {count} common seeds. Better is blue on the diagonal and red '
        'off it. Values below 0.5 off the diagonal are blank.',
        count=len(pairs),
    )
    file = folder / 'confusion.png'
    with canvas(file, vector=True) as figure:
        draw_confusion(figure, matrix, list(best.classes[0][1].iou), str(title), baseline)
    return [Picture(file, caption)]


def _draw_class_iou(collection: Collection, scores: Scores, deltas: Scores, file: Path) -> None:
    """Draw a dot for each class and run and, in a second panel, its difference to the baseline."""
    looks = line_styles(collection)
    names = list(next(iter(scores.values())))
    with canvas(file, 1.3 + 0.32 * len(names), vector=True) as figure:
        panels = figure.subplots(1, 2 if deltas else 1, sharey=True, squeeze=False)[0]
        for axes, part in zip(panels, (scores, deltas), strict=False):
            for i, (name, row) in enumerate(part.items()):
                # One below the other, so that equal values do not hide each other.
                places = np.arange(len(names)) + 0.2 * (i - (len(part) - 1) / 2)
                style = dict(color=looks[name]['color'], label=fill(name, NAME_WIDTH))
                values = [row.get(c, np.nan) for c in names]
                axes.plot(values, places, 'o', markersize=4, **style)
        first, *others = panels
        title = message('IoU [%] at the best {metric}', metric=collection.metric)
        first.set(title=title, xlim=(0, 100), ylim=(len(names) - 0.5, -0.5))
        first.set_yticks(range(len(names)), names)
        for axes in others:
            axes.axvline(0, color='black', linewidth=0.8)
            baseline = fill(collection.baseline.name, NAME_WIDTH)
            axes.set_title(message('difference to {baseline} [points]', baseline=baseline))
        figure.legend(handles=first.lines, **LEGEND)
