"""A figure of how the losses share the student's gradient during training."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from mmseg_kd.visualization.canvas import canvas, guide_line, iteration_axis
from mmseg_kd.visualization.line_styles import BLACK, line_style

# One report measures one batch; with more reports only the trend is legible.
FEW_REPORTS = 40
TITLES = {
    'share': "share of the gradient at the student's features",
    'cosine': "cosine with the labels' gradient",
    'weighted': 'weighted loss',
}

Reports = Sequence[Mapping[str, Any]]


def gradient_figure(reports: Reports, file: str | Path, guides: tuple[float, float]) -> None:
    """Draw gradient norm share, cosine with the labels' gradient and weighted losses.

    With more than 40 reports each curve is a running mean over a twentieth of them; the reports
    themselves are drawn in a pale tone.

    Args:
        reports: The lines of `gradients.jsonl`, at least one.
        file: Where to write the PNG, 1000 pixels wide.
        guides: Two shares, drawn as lines: below the first a loss has almost no effect, above the
            second it dominates the others.
    """
    names = list(dict.fromkeys(name for report in reports for name in report['losses']))
    looks = {'labels': BLACK} | {name: line_style(i) for i, name in enumerate(names)}
    iterations = [report['iter'] for report in reports]
    marker = 'o' if len(reports) <= FEW_REPORTS else None
    with canvas(file, 9.6, 10, dpi=100, font_size=11) as figure:
        panels = figure.subplots(3, 1, sharex=True, height_ratios=(5, 3, 4))
        for axes, (key, title) in zip(panels, TITLES.items(), strict=True):
            axes.set_title(title)
            for name, look in looks.items():
                values = _values(reports, name, key)
                axes.plot(iterations, values, color=look['color'], linewidth=0.8, alpha=0.25)
                style = dict(linewidth=2, marker=marker, markersize=4, label=name)
                axes.plot(iterations, _trend(values), **style, **look)
        shares, cosines, losses = panels
        low, high = guides
        guide_line(shares, low, f'below {100 * low:g} %: almost no effect')
        guide_line(shares, high, f'above {100 * high:g} %: dominates the rest')
        shares.set(yscale='log', ylim=(None, 1.3))
        shares.yaxis.set_major_formatter(lambda share, _: f'{100 * share:g} %')
        shares.yaxis.set_minor_formatter('')
        cosines.axhline(0, color='0.5', linewidth=0.8, zorder=1)
        cosines.set_ylim(-1.05, 1.05)
        if math.isfinite(losses.dataLim.minposy):
            losses.set_yscale('log')
        iteration_axis(losses)
        handles, labels = losses.get_legend_handles_labels()
        figure.legend(handles, labels, loc='outside upper left', ncols=6, fontsize='small')


def _values(reports: Reports, name: str, key: str) -> np.ndarray:
    """Return a value of each report; NaN for None, and for 0, which a log axis cannot show."""
    rows = [r['task'] if name == 'labels' else r['losses'].get(name, {}) for r in reports]
    return np.array([row.get(key) or math.nan for row in rows])


def _trend(values: np.ndarray) -> np.ndarray:
    """Return the mean over a twentieth of the values around each, ignoring NaN."""
    half = len(values) // FEW_REPORTS
    padded = np.pad(values, half, constant_values=math.nan)
    return np.ma.masked_invalid(sliding_window_view(padded, 2 * half + 1)).mean(axis=1)
