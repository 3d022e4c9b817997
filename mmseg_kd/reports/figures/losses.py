"""The losses of a few runs in training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from mmseg_kd.distillation.base import log_names
from mmseg_kd.records.run_record import RunRecord
from mmseg_kd.reports.figures.canvas import canvas, legend, shorten, tidy
from mmseg_kd.visualization.line_styles import DASHES, line_style

# More points than pixels show nothing.
MOST_POINTS = 400
# Highest by lowest value of an axis with a label at 2 and at 5.
MOST_SUBDIVIDED = 1000


def loss_names(run: RunRecord) -> list[str]:
    """Names of the weighted losses that a run logged, the labels' first."""
    names = [n for n in run.training if 'loss' in n and n != 'loss' and not n.endswith('_raw')]
    return sorted(names, key=lambda name: not name.startswith(('decode', 'aux')))


def distillation_losses(runs: Iterable[RunRecord]) -> list[str]:
    """Names of the distillation losses of runs, as the config has them, in order."""
    return list(dict.fromkeys(name for run in runs for name in run.kd_losses))


def loss_curves(runs: Sequence[tuple[str, RunRecord]], file: Path, order: Sequence[str]) -> None:
    """Draw the weighted losses on logarithmic axes, a panel for each run.

    Args:
        runs: Name and run, at most a few.
        file: Where to write the PNG.
        order: Distillation losses in the order of their colours.
    """
    looks = _looks(runs, order)
    columns = min(2, len(runs))
    rows = -(-len(runs) // columns)
    with canvas(file, 0.6 + 2.5 * rows) as figure:
        panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
        for axes in panels.flat[len(runs) :]:
            axes.set_axis_off()
        for axes, (name, run) in zip(panels.flat, runs, strict=False):
            _draw(axes, run, looks)
            tidy(axes, shorten(name, 40), yscale='log', xlabel='iteration')
            axes.yaxis.set_major_formatter(StrMethodFormatter('{x:g}'))
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        low, high = panels[0, 0].get_ylim()
        # Of many decades the labels in between would touch.
        subs = (1, 2, 5) if high < MOST_SUBDIVIDED * low else (1,)
        for axes in panels.flat[: len(runs)]:
            axes.yaxis.set_major_locator(LogLocator(subs=subs))
        handles = [
            Line2D([], [], color=colour, linestyle=style, linewidth=2, label=name)
            for name, (colour, style) in looks.items()
        ]
        legend(figure, handles, columns=4)


def _looks(
    runs: Sequence[tuple[str, RunRecord]], order: Sequence[str]
) -> dict[str, tuple[str, str]]:
    """Colour and line style of each loss; the labels' are black."""
    names = list(dict.fromkeys(name for _, run in runs for name in loss_names(run)))
    labels = [name for name in names if name.startswith(('decode', 'aux'))]
    logged = [log_names(name)[0] for name in order]
    others = [*logged, *(name for name in names if name not in (*labels, *logged))]
    return {name: ('black', DASHES[i % len(DASHES)]) for i, name in enumerate(labels)} | {
        name: line_style(i) for i, name in enumerate(others) if name in names
    }


def _draw(axes: Axes, run: RunRecord, looks: Mapping[str, tuple[str, str]]) -> None:
    stride = -(-len(run.training['step']) // MOST_POINTS)
    steps = run.training['step'][::stride]
    for loss in loss_names(run):
        values = run.training[loss][::stride]
        # A loss that a schedule has put to 0 has no place on a logarithmic axis.
        positive = np.where(values > 0, values, np.nan)
        colour, style = looks[loss]
        axes.plot(steps, positive, color=colour, linestyle=style, linewidth=1.4)
