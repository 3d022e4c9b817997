"""A figure of the losses of a few runs during training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from mmseg_kd.distillation.base import log_names
from mmseg_kd.records.run_record import RunRecord
from mmseg_kd.visualization.canvas import canvas, iteration_axis, line_legend, shorten, tidy
from mmseg_kd.visualization.line_styles import LineStyle, black_line, line_style

# More points than pixels are of no use.
MOST_POINTS = 400
# Above this ratio of highest to lowest value, labels at 2 and 5 would touch.
MOST_SUBDIVIDED = 1000
OF_LABELS = ('decode', 'aux')


def loss_names(run: RunRecord) -> list[str]:
    """Return the names of the weighted losses that a run logged, the labels' losses first."""
    names = [n for n in run.training if 'loss' in n and n != 'loss' and not n.endswith('_raw')]
    return sorted(names, key=lambda name: not name.startswith(OF_LABELS))


def distillation_losses(runs: Iterable[RunRecord]) -> list[str]:
    """Return the names of the distillation losses of runs, in the order of their configs."""
    return list(dict.fromkeys(name for run in runs for name in run.kd_losses))


def loss_curves(runs: Sequence[tuple[str, RunRecord]], file: Path, order: Sequence[str]) -> None:
    """Draw the weighted losses on logarithmic axes, one panel per run.

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
            stride = -(-len(run.training['step']) // MOST_POINTS)
            for loss in loss_names(run):
                values = run.training[loss][::stride]
                # A loss with weight 0 has no place on a logarithmic axis.
                positive = np.where(values > 0, values, np.nan)
                axes.plot(run.training['step'][::stride], positive, linewidth=1.4, **looks[loss])
            tidy(axes, shorten(name, 40), yscale='log')
            axes.yaxis.set_major_formatter(StrMethodFormatter('{x:g}'))
            axes.yaxis.set_minor_formatter(NullFormatter())
            iteration_axis(axes, ticks=5)
        low, high = panels[0, 0].get_ylim()
        subs = (1, 2, 5) if high < MOST_SUBDIVIDED * low else (1,)
        for axes in panels.flat[: len(runs)]:
            axes.yaxis.set_major_locator(LogLocator(subs=subs))
        line_legend(figure, looks, columns=4)


def _looks(runs: Sequence[tuple[str, RunRecord]], order: Sequence[str]) -> dict[str, LineStyle]:
    """Return the line style of each loss; the labels' losses are black."""
    names = list(dict.fromkeys(name for _, run in runs for name in loss_names(run)))
    labels = [name for name in names if name.startswith(OF_LABELS)]
    logged = [log_names(name)[0] for name in order]
    others = list(dict.fromkeys([*logged, *(name for name in names if name not in labels)]))
    return {name: black_line(i) for i, name in enumerate(labels)} | {
        name: line_style(i) for i, name in enumerate(others) if name in names
    }
