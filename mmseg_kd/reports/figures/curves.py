"""Sections with curves of the training: evaluations and losses."""

from pathlib import Path

import numpy as np

from mmseg_kd.records.message import message
from mmseg_kd.records.run_record import RunRecord
from mmseg_kd.reports.comparing.collection import Collection, Group
from mmseg_kd.reports.writing.document import Block, Heading, Picture
from mmseg_kd.visualization.canvas import (
    canvas,
    guide_line,
    iteration_axis,
    line_legend,
    shorten,
    tidy,
)
from mmseg_kd.visualization.line_styles import LineStyle, black_line, line_style

# More lines of teachers hide the curves.
MOST_TEACHERS, MOST_PANELS, MOST_CURVES = 3, 4, 8
OF_LABELS = ('decode', 'aux')


def learning_curves(collection: Collection, folder: Path) -> list[Block]:
    """Draw the metric over the iterations: means of the seeds, and a band from low to high."""
    metric, looks = collection.metric, line_styles(collection)
    file, handles = folder / 'learning_curves.png', {}
    with canvas(file, 4.6, vector=True) as figure:
        axes = figure.subplots()
        for group in collection.ranked[::-1]:
            iterations, values = group.curves()
            look = looks.get(group.name)
            if look is None:
                axes.plot(iterations, values.T, color='0.8', linewidth=0.7, zorder=1)
                continue
            marker = 'o' if len(iterations) <= 25 else None
            style = dict(marker=marker, markersize=3.5, linewidth=1.8)
            axes.plot(iterations, values.mean(axis=0), **style, **look)
            band = dict(color=look['color'], alpha=0.15, linewidth=0)
            axes.fill_between(iterations, values.min(axis=0), values.max(axis=0), **band)
            seeds = message(' ({count} seeds)', count=len(group.counted))
            text = shorten(group.name) + str(seeds) * (len(group.counted) > 1)
            handles[group.name] = (text, look)
        cards = {
            card['sha256']: (name, run.name, card)
            for run in collection.runs
            for name, card in run.teachers.items()
        }
        for name, student, card in list(cards.values())[:MOST_TEACHERS]:
            if metric in card['metrics']:
                score = card['metrics'][metric]
                whose = f'{name} of {student}' if len(cards) > 1 else name
                guide_line(axes, score, f'{whose} {score:.2f}')
        axes.margins(y=0.08)
        tidy(axes, message('{metric} [%], validation', metric=metric))
        iteration_axis(axes)
        legend = dict(handles[name] for name in looks if name in handles)
        line_legend(figure, legend, columns=2 if len(legend) > 3 else 3)
    grey = len(collection.ranked) - len(handles)
    caption = message(
        '{metric} of all runs: means of the seeds, with a band from the lowest to the highest of '
        'them.'
        if not grey
        else '{metric} of all runs. The best {shown} have a colour and the band of their seeds, '
        'the other {grey} are thin and grey.',
        metric=metric,
        shown=len(handles),
        grey=grey,
    )
    names = ', '.join(handles)
    alt = message('Curves of {metric} over the iterations: {names}.', metric=metric, names=names)
    return [Heading(message('Learning curves')), Picture(file, caption, alt)]


def losses(collection: Collection, folder: Path) -> list[Block]:
    """Draw the losses of a few runs."""
    groups = first_groups(collection, MOST_PANELS)
    runs = {g.name: g.counted[0] for g in groups if loss_names(g.counted[0])}
    if not runs:
        return []
    file, names = folder / 'losses.png', ', '.join(runs)
    loss_curves(runs, file)
    caption = message(
        'Weighted losses of one seed each, means over the logging interval. Each panel has axes '
        'of its own. The share of each loss in the gradient is in gradients.png of its work_dir.'
    )
    alt = message('Curves of the weighted losses of {names}.', names=names)
    return [Heading(message('Losses')), Picture(file, caption, alt)]


def loss_names(run: RunRecord) -> list[str]:
    """Return the names of the weighted losses that a run logged, the labels' losses first."""
    names = [n for n in run.training if 'loss' in n and n != 'loss' and not n.endswith('_raw')]
    return sorted(names, key=lambda name: not name.startswith(OF_LABELS))


def loss_curves(runs: dict[str, RunRecord], file: Path) -> None:
    """Draw the weighted losses on logarithmic axes, one panel per run.

    Args:
        runs: By name, at most a few.
        file: Where to write the PNG.
    """
    looks = _looks(runs)
    columns = min(2, len(runs))
    rows = -(-len(runs) // columns)
    with canvas(file, 0.6 + 2.5 * rows, vector=True) as figure:
        panels = figure.subplots(rows, columns, squeeze=False)
        for axes in panels.flat[len(runs) :]:
            axes.set_axis_off()
        for axes, (name, run) in zip(panels.flat, runs.items(), strict=False):
            for loss in loss_names(run):
                # A loss with weight 0 has no place on a logarithmic axis.
                values = np.where(run.training[loss] > 0, run.training[loss], np.nan)
                axes.plot(run.training['step'], values, linewidth=1.4, **looks[loss])
            tidy(axes, shorten(name, 40), yscale='log')
            iteration_axis(axes, ticks=5)
        line_legend(figure, looks, columns=4)


def _looks(runs: dict[str, RunRecord]) -> dict[str, LineStyle]:
    """Return the line style of each loss; the labels' losses are black."""
    names = dict.fromkeys(name for run in runs.values() for name in loss_names(run))
    labels = [name for name in names if name.startswith(OF_LABELS)]
    others = [name for name in names if name not in labels]
    looks = {name: black_line(i) for i, name in enumerate(labels)}
    return looks | {name: line_style(i) for i, name in enumerate(others)}


def line_styles(collection: Collection) -> dict[str, LineStyle]:
    """Return line styles by name of the group: black for the baseline, a colour for the best."""
    baseline = collection.baseline
    best = [group for group in collection.ranked if group is not baseline][:MOST_CURVES]
    # In the order of the runs, so that a new run at the end leaves the others as they were.
    names = [group.name for group in collection.groups if group in best]
    looks = {} if baseline is None else {baseline.name: black_line()}
    return looks | {name: line_style(i) for i, name in enumerate(names)}


def first_groups(collection: Collection, count: int = MOST_CURVES + 1) -> list[Group]:
    """Return the baseline, the best students and a teacher, of those with a colour."""
    looks = line_styles(collection)
    first = [group for group in collection.ranked if group is collection.baseline]
    teachers = collection.teachers[:1]
    students = collection.students[: count - len(first) - len(teachers)]
    return [group for group in (*first, *students, *teachers) if group.name in looks]
