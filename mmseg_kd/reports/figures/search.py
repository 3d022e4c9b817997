"""Figures of a grid or search: importances, slices and parallel coordinates.

Those of `optuna.visualization.matplotlib` were tried: their tick labels overlap, low scores are
pale lines on grey, and slices are coloured by trial number, which means nothing for a grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from mmseg_kd.records.json_lines import is_number
from mmseg_kd.reports.comparing.differing_settings import setting_text, short_keys
from mmseg_kd.reports.comparing.search_results import Point
from mmseg_kd.visualization.canvas import canvas, shorten, tidy
from mmseg_kd.visualization.line_styles import COLOURS

# With more, a figure is taller than a screen, or its axes touch.
MOST_SLICES, MOST_AXES = 9, 7
# Perceptually uniform, and legible for colour-blind people.
MAP = 'viridis'


def importance_bars(shares: Mapping[str, float], file: Path) -> None:
    """Draw the importance of each parameter.

    Args:
        shares: Importance from 0 to 1 by dotted key, the largest first.
        file: Where to write the PNG.
    """
    names = short_keys(list(shares))
    with canvas(file, 0.9 + 0.36 * len(shares)) as figure:
        axes = figure.subplots()
        places = range(len(shares))
        bars = axes.barh(places, list(shares.values()), color=COLOURS[4], height=0.65)
        axes.bar_label(bars, fmt='%.2f', padding=4, fontsize=9)
        axes.set_yticks(places, [shorten(names[key], 40) for key in shares])
        tidy(axes, 'importance (PED-ANOVA)', xlim=(0, 1.08))
        axes.grid(visible=False, axis='y')
        axes.invert_yaxis()


def slice_plots(points: Sequence[Point], space: Mapping[str, Any], metric: str, file: Path) -> None:
    """Draw the score over each parameter, one panel per parameter.

    Args:
        points: The points.
        space: The choices by dotted key; the first nine are drawn.
        metric: Name of the score.
        file: Where to write the PNG.
    """
    keys = list(space)[:MOST_SLICES]
    names = short_keys(keys)
    columns = min(3, len(keys))
    rows = -(-len(keys) // columns)
    scores = np.array([point.score for point in points])
    best = int(scores.argmax())
    ring = dict(s=60, facecolors='none', edgecolors='black', zorder=3)
    with canvas(file, 0.4 + 2.3 * rows) as figure:
        panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
        for axes in panels.flat[len(keys) :]:
            axes.set_axis_off()
        for axes in panels[:, 0]:
            axes.set_ylabel(f'{metric} [%]')
        for axes, key in zip(panels.flat, keys, strict=False):
            scale = _scale(points, key, space[key])
            axes.scatter(scale.values, scores, s=22, color=COLOURS[4], alpha=0.6, linewidths=0)
            axes.scatter(scale.values[best], scores[best], **ring)
            tidy(axes, '', xlabel=shorten(names[key], 30))
            if scale.logarithmic:
                axes.set_xscale('log')
            if scale.names:
                names_of_ticks = [shorten(name, 12) for name in scale.names]
                axes.set_xticks(range(len(scale.names)), names_of_ticks, fontsize=8)
                axes.set_xlim(-0.5, len(scale.names) - 0.5)


def parallel_coordinates(
    points: Sequence[Point], space: Mapping[str, Any], metric: str, file: Path
) -> None:
    """Draw each point as a line over the parameters, coloured by its score, the best on top.

    Args:
        points: The points.
        space: The choices by dotted key; the first seven are drawn.
        metric: Name of the score.
        file: Where to write the PNG.
    """
    keys = list(space)[:MOST_AXES]
    names = short_keys(keys)
    scores = np.array([point.score for point in points])
    colours = Normalize(scores.min(), scores.max() if np.ptp(scores) else scores.min() + 1)
    with canvas(file, 3.8) as figure:
        axes = figure.subplots()
        columns = [_draw_scale(axes, i, _scale(points, k, space[k])) for i, k in enumerate(keys)]
        lines = np.array(columns).T
        for row in np.argsort(scores):
            colour = matplotlib.colormaps[MAP](colours(scores[row]))
            axes.plot(range(len(keys)), lines[row], color=colour, linewidth=1.3, alpha=0.85)
        longest = 26 if len(keys) <= 4 else 16
        labels = [shorten(names[key], longest) for key in keys]
        axes.set_xticks(range(len(keys)), labels, fontsize=8.5)
        axes.set(xlim=(-0.3, len(keys) - 0.6), ylim=(-0.08, 1.08))
        axes.yaxis.set_visible(False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, pad=8)
        figure.colorbar(ScalarMappable(colours, MAP), ax=axes, label=f'{metric} [%]', pad=0.02)


@dataclass
class _Scale:
    """Where values lie on an axis, and names of the places if the values are not numbers."""

    values: np.ndarray
    names: list[str]
    logarithmic: bool = False


def _scale(points: Sequence[Point], key: str, choices: Any) -> _Scale:
    values = [point.params.get(key) for point in points]
    continuous = isinstance(choices, Mapping) and choices.get('type') != 'choice'
    if continuous and all(map(is_number, values)):
        return _Scale(np.array(values, dtype=float), [], choices.get('type') == 'loguniform')
    known = choices.get('choices', []) if isinstance(choices, Mapping) else choices
    texts = [setting_text(value) for value in values]
    names = list(dict.fromkeys([*map(setting_text, known), *texts]))
    return _Scale(np.array([names.index(text) for text in texts], dtype=float), names)


def _draw_scale(axes: Axes, place: int, scale: _Scale) -> np.ndarray:
    """Draw one vertical axis with its labels, and return the heights of the values, 0 to 1."""
    shown = np.log10(scale.values) if scale.logarithmic else scale.values
    if scale.names:
        marks = dict(enumerate(scale.names))
    else:
        ends = (shown.min(), shown.max())
        marks = {end: f'{10**end if scale.logarithmic else end:.3g}' for end in ends}
    low, high = min(marks), max(marks)
    length = high - low or 1
    axes.axvline(place, ymin=0.069, ymax=0.931, color='0.3', linewidth=1)
    for height, text in marks.items():
        axes.annotate(
            shorten(text, 14),
            (place, (height - low) / length),
            xytext=(4, 0),
            textcoords='offset points',
            fontsize=8,
            va='center',
            zorder=5,
            bbox=dict(facecolor='white', edgecolor='none', alpha=0.75, pad=0.8),
        )
    return (shown - low) / length
