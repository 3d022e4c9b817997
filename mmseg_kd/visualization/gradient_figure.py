"""A figure of how the losses share the student's gradient during training."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from mmseg_kd.visualization.canvas import canvas, guide_line, iteration_axis, line_legend, tidy
from mmseg_kd.visualization.line_styles import LineStyle, black_line, line_style

# One report measures one batch; with more reports only the trend is legible.
FEW_REPORTS = 40
TITLES = {
    'share': "share of the gradient at the student's features",
    'cosine': "cosine with the labels' gradient",
    'weighted': 'weighted loss',
}

Reports = Sequence[Mapping[str, Any]]


def gradient_figure(
    reports: Reports,
    file: str | Path,
    guides: tuple[float, float] = (0.001, 0.9),
) -> None:
    """Draw gradient norm share, cosine with the labels' gradient and weighted losses.

    With more than 40 reports each curve is a running mean over a twentieth of them, drawn over
    the single reports in a pale tone.

    Args:
        reports: The lines of `gradients.jsonl`, at least one.
        file: Where to write the PNG, 1000 pixels wide.
        guides: Shares below and above which a loss is useless, drawn as lines.
    """
    names = list(dict.fromkeys(name for report in reports for name in report['losses']))
    looks = {'labels': black_line()} | {name: line_style(i) for i, name in enumerate(names)}
    with canvas(file, 9.6, 10, dpi=100, font_size=11) as figure:
        panels = figure.subplots(3, 1, sharex=True, height_ratios=(5, 3, 4))
        for axes, (key, title) in zip(panels, TITLES.items(), strict=True):
            for name, look in looks.items():
                if key != 'cosine' or name != 'labels':
                    _draw(axes, reports, name, key, look)
            tidy(axes, title)
        shares, cosines, values = panels
        _as_shares(shares, guides)
        cosines.axhline(0, color='0.5', linewidth=0.8, zorder=1)
        cosines.set_ylim(-1.05, 1.05)
        if any(np.isfinite(line.get_ydata()).any() for line in values.lines):
            values.set_yscale('log')
        iteration_axis(values)
        line_legend(figure, looks, columns=6)


def _draw(axes: Axes, reports: Reports, name: str, key: str, look: LineStyle) -> None:
    iterations = np.array([report['iter'] for report in reports])
    rows = [r['task'] if name == 'labels' else r['losses'].get(name, {}) for r in reports]
    values = np.array([math.nan if row.get(key) is None else row[key] for row in rows])
    if key != 'cosine':
        # A loss with weight 0 has no place on a logarithmic axis.
        values = np.where(values > 0, values, math.nan)
    if len(values) > FEW_REPORTS:
        axes.plot(iterations, values, color=look['color'], linewidth=0.8, alpha=0.25)
        axes.plot(iterations, _trend(values), linewidth=2, **look)
    else:
        axes.plot(iterations, values, marker='o', markersize=4, **look)


def _trend(values: np.ndarray) -> np.ndarray:
    """Return the mean over a twentieth of the values around each, ignoring NaN."""
    ones = np.ones(2 * (len(values) // 40) + 1)
    there = np.isfinite(values)
    sums = np.convolve(np.where(there, values, 0.0), ones, mode='same')
    counts = np.convolve(there, ones, mode='same')
    return np.where(there, sums / np.maximum(counts, 1), math.nan)


def _as_shares(axes: Axes, guides: tuple[float, float]) -> None:
    low, high = guides
    lowest = min((np.nanmin(line.get_ydata(), initial=1.0) for line in axes.lines), default=1.0)
    axes.set(yscale='log', ylim=(min(lowest, low) / 3, 1.3))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f'{100 * share:g} %'))
    axes.yaxis.set_minor_formatter('')
    guide_line(axes, low, f'below {100 * low:g} %: almost no effect')
    guide_line(axes, high, f'above {100 * high:g} %: dominates the rest')
