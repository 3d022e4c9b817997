"""The sections with learning curves and losses, and the line styles of runs in all figures."""

from pathlib import Path
from textwrap import fill

import numpy as np

from mmseg_kd.records.message import message
from mmseg_kd.records.run_record import RunRecord
from mmseg_kd.reports.comparing.collection import Collection, Group
from mmseg_kd.reports.writing.document import Block, Heading, Picture
from mmseg_kd.visualization.canvas import NAME_WIDTH, canvas, guide_line, iteration_axis
from mmseg_kd.visualization.line_styles import BLACK, COLOURS, LineStyle, line_style

# More than two long names do not fit next to each other.
LEGEND = dict(loc='outside upper left', ncols=2, fontsize='small')
# More lines of teachers hide the curves.
MOST_TEACHERS = 3
# Each has its own colour.
MOST_CURVES = len(COLOURS)
MOST_PANELS = 4
OF_LABELS = ('decode', 'aux')


def learning_curves(collection: Collection, folder: Path) -> list[Block]:
    """Draw the metric over the iterations: means of the seeds, and a band from low to high."""
    metric, looks = collection.metric, line_styles(collection)
    file, lines = folder / 'learning_curves.png', {}
    with canvas(file, 4.6, vector=True) as figure:
        axes = figure.subplots()
        for group in collection.ranked[::-1]:
            curves, look = [run.curve(metric) for run, _ in group.best], looks.get(group.name)
            if look is None:
                for curve in curves:
                    axes.plot([*curve], [*curve.values()], color='0.8', linewidth=0.7, zorder=1)
                continue
            iterations, values = group.curves()
            if len(iterations):
                curves = [dict(zip(iterations, values.mean(axis=0), strict=True))]
            marker = 'o' if max(map(len, curves)) <= 25 else None
            style = dict(marker=marker, markersize=3.5, label=fill(group.name, NAME_WIDTH))
            for curve in curves:
                (lines[group.name],) = axes.plot([*curve], [*curve.values()], **style, **look)
            band = dict(color=look['color'], alpha=0.15, linewidth=0)
            axes.fill_between(iterations, values.min(axis=0), values.max(axis=0), **band)
        for group, name, card in collection.cards[:MOST_TEACHERS]:
            if metric in card['metrics']:
                score = card['metrics'][metric]
                guide_line(axes, score, f'{group.name}: {name} {score:.2f}')
        axes.margins(y=0.08)
        axes.set_title(message('{metric} [%], validation', metric=metric))
        iteration_axis(axes)
        figure.legend(handles=[lines[name] for name in looks if name in lines], **LEGEND)
    caption = message(
        '{metric} of all runs: means of the seeds, with a band from lowest to highest; seeds that '
        'end at different iterations one by one. Thin and grey, if any: the runs below the best.',
        metric=metric,
    )
    return [Heading(message('Learning curves')), Picture(file, caption)]


def losses(collection: Collection, folder: Path) -> list[Block]:
    """Draw the losses of one seed of a few runs, one panel with a logarithmic axis per run."""
    runs = {g.name: g.first for g in first_groups(collection, MOST_PANELS) if _losses_of(g.first)}
    if not runs:
        return []
    file = folder / 'losses.png'
    names = dict.fromkeys(name for run in runs.values() for name in _losses_of(run))
    others = [name for name in names if not name.startswith(OF_LABELS)]
    looks = {name: line_style(others.index(name)) if name in others else BLACK for name in names}
    rows, columns = -(-len(runs) // 2), min(2, len(runs))
    with canvas(file, 0.6 + 2.5 * rows, vector=True) as figure:
        lines = {}
        for i, (name, run) in enumerate(runs.items()):
            axes = figure.add_subplot(rows, columns, i + 1, yscale='log')
            axes.set_title(fill(name, NAME_WIDTH // columns))
            iteration_axis(axes)
            for loss in _losses_of(run):
                # A logarithmic axis cannot show a loss of weight 0.
                values = np.where(run.training[loss] > 0, run.training[loss], np.nan)
                # A line of one point would not be drawn.
                look = looks[loss] | {'marker': 'o' if len(values) == 1 else ''}
                (lines[loss],) = axes.plot(run.training['step'], values, label=loss, **look)
        figure.legend(handles=lines.values(), **LEGEND)
    caption = message(
        'Weighted losses of one seed each, means over the logging interval. Each panel has its '
        'own axes. The share of each loss in the gradient is in gradients.png of its work_dir.'
    )
    return [Heading(message('Losses')), Picture(file, caption)]


def _losses_of(run: RunRecord) -> list[str]:
    """Return the names of the weighted losses that a run logged, the labels' losses first."""
    names = [n for n in run.training if 'loss' in n and n != 'loss' and not n.endswith('_raw')]
    return sorted(names, key=lambda name: not name.startswith(OF_LABELS))


def line_styles(collection: Collection) -> dict[str, LineStyle]:
    """Return line styles by name of the group: black for the baseline, a colour for the best."""
    baseline = collection.baseline
    best = [group for group in collection.ranked if group is not baseline][:MOST_CURVES]
    # In the order of the runs, so that a new run at the end does not change the other colours.
    names = [group.name for group in collection.groups if group in best]
    looks = {} if baseline is None else {baseline.name: BLACK}
    return looks | {name: line_style(i) for i, name in enumerate(names)}


def first_groups(collection: Collection, count: int) -> list[Group]:
    """Return the baseline, the best students and a teacher, of those with a colour."""
    looks = line_styles(collection)
    first = [group for group in collection.ranked if group is collection.baseline]
    teachers = collection.teachers[:1]
    students = collection.students[: count - len(first) - len(teachers)]
    return [group for group in (*first, *students, *teachers) if group.name in looks]
