"""The section with the weighted losses of a few runs."""

from pathlib import Path
from textwrap import fill

import numpy as np

from mmseg_kd.records.message import message
from mmseg_kd.records.run_record import RunRecord
from mmseg_kd.reports.comparing.collection import Collection
from mmseg_kd.reports.figures.curves import LEGEND, first_groups
from mmseg_kd.reports.writing.document import Block, Heading, Picture
from mmseg_kd.visualization.canvas import NAME_WIDTH, canvas, iteration_axis
from mmseg_kd.visualization.line_styles import BLACK, line_style

MOST_PANELS = 4
OF_LABELS = ('decode', 'aux')


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
