"""A picture of how the losses share the student's gradient during training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from mmseg_kd.visualization.fonts import font_settings
from mmseg_kd.visualization.line_styles import line_style
from mmseg_kd.visualization.literal_text import literal_text

# One report stands for one batch; of many, the trend is what can be read.
FEW_REPORTS = 40


def gradient_figure(
    reports: Sequence[Mapping[str, Any]],
    file: str | Path,
    guides: tuple[float, float] = (0.001, 0.9),
    order: Sequence[str] = (),
) -> None:
    """Draw share of the gradient, cosine with the labels' gradient and weighted losses.

    Beyond 40 reports each curve is a running mean over a twentieth of them, on top of the
    single reports in a pale tone.

    Args:
        reports: The lines of `gradients.jsonl`, at least one.
        file: Where to write the PNG, 1000 pixels wide.
        guides: Shares below and above which a loss is of no use, drawn as lines.
        order: Losses in the order of their colours, to have them equal in several pictures; others
            follow.
    """
    names = list(dict.fromkeys(name for report in reports for name in report['losses']))
    looks = {'task': ('black', '-')} | {
        name: line_style(i)
        for i, name in enumerate(dict.fromkeys([*order, *names]))
        if name in names
    }
    with matplotlib.rc_context(font_settings(11)):
        figure = Figure(figsize=(10, 9.6), layout='constrained')
        figure.get_layout_engine().set(w_pad=0.1, h_pad=0.06)
        shares, cosines, values = figure.subplots(3, 1, sharex=True, height_ratios=(5, 3, 4))
        _draw(shares, _curves(reports, ('task', *names), 'share', positive=True), looks)
        _draw(cosines, _curves(reports, names, 'cosine'), looks)
        _draw(values, _curves(reports, ('task', *names), 'weighted', positive=True), looks)
        _as_shares(shares, guides)
        cosines.axhline(0, color='0.5', linewidth=0.8, zorder=1)
        cosines.set(title="cosine with the labels' gradient", ylim=(-1.05, 1.05))
        values.set(title='weighted loss', xlabel='iteration')
        if any(np.isfinite(line.get_ydata()).any() for line in values.lines):
            values.set_yscale('log')
        values.xaxis.set_major_locator(MaxNLocator(integer=True, steps=(1, 2, 5, 10)))
        for axes in (shares, cosines, values):
            axes.title.set(horizontalalignment='left', x=0.0)
            axes.grid(color='0.9', linewidth=0.6)
            axes.set_axisbelow(True)
            axes.spines[['top', 'right']].set_visible(False)
        handles = [
            Line2D([], [], color=colour, linestyle=style, linewidth=2, label=_label(name))
            for name, (colour, style) in looks.items()
        ]
        figure.legend(
            handles=handles, loc='outside upper center', ncols=min(len(handles), 6), frameon=False
        )
        literal_text(figure)
        figure.savefig(file, dpi=100, format='png')


def _label(name: str) -> str:
    return 'labels' if name == 'task' else name


def _curves(
    reports: Sequence[Mapping[str, Any]], names: Sequence[str], key: str, positive: bool = False
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    iterations = np.array([report['iter'] for report in reports])
    for name in names:
        rows = [r['task'] if name == 'task' else r['losses'].get(name, {}) for r in reports]
        values = np.array([math.nan if row.get(key) is None else row[key] for row in rows])
        if positive:
            # A loss that a schedule has put to 0 has no place on a logarithmic axis.
            values = np.where(values > 0, values, math.nan)
        yield name, iterations, values


def _draw(
    axes: Axes,
    curves: Iterator[tuple[str, np.ndarray, np.ndarray]],
    looks: Mapping[str, tuple[str, str]],
) -> None:
    for name, iterations, values in curves:
        colour, style = looks[name]
        if len(values) > FEW_REPORTS:
            axes.plot(iterations, values, color=colour, linewidth=0.8, alpha=0.25)
            axes.plot(iterations, _trend(values), color=colour, linestyle=style, linewidth=2)
        else:
            axes.plot(iterations, values, color=colour, linestyle=style, marker='o', markersize=4)


def _trend(values: np.ndarray) -> np.ndarray:
    """Mean over a twentieth of the values around each, of those that are there."""
    ones = np.ones(2 * (len(values) // 40) + 1)
    there = np.isfinite(values)
    sums = np.convolve(np.where(there, values, 0.0), ones, mode='same')
    counts = np.convolve(there, ones, mode='same')
    return np.where(there, sums / np.maximum(counts, 1), math.nan)


def _as_shares(axes: Axes, guides: tuple[float, float]) -> None:
    axes.set_title("share of the gradient at the student's features")
    lowest = min((np.nanmin(y, initial=1.0) for y in map(Line2D.get_ydata, axes.lines)), default=1)
    axes.set(yscale='log', ylim=(min(lowest, guides[0]) / 3, 1.3))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f'{100 * share:g} %'))
    axes.yaxis.set_minor_formatter('')
    low, high = guides
    for share, words, side in (
        (low, f'below {100 * low:g} %: switched off', 'top'),
        (high, f'above {100 * high:g} %: swamps the rest', 'bottom'),
    ):
        axes.axhline(share, color='0.35', linewidth=1, linestyle=(0, (6, 3)), zorder=1)
        axes.annotate(
            words,
            (1, share),
            xycoords=('axes fraction', 'data'),
            xytext=(0, -3 if side == 'top' else 6),
            textcoords='offset points',
            horizontalalignment='right',
            verticalalignment=side,
            fontsize=9,
            color='0.25',
            bbox=dict(facecolor='white', edgecolor='none', alpha=0.8, pad=1),
        )
