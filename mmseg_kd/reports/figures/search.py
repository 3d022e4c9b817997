"""Figures of a grid or search: importances, slices and parallel coordinates.

Those of `optuna.visualization.matplotlib` were tried: their tick labels overlap, low scores are
pale lines on grey, and slices are coloured by trial number, which means nothing for a grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from mmseg_kd.reports.comparing.differing_settings import setting_text, short_keys
from mmseg_kd.reports.sections.search_results import Point, is_number
from mmseg_kd.visualization.canvas import canvas, shorten, tidy
from mmseg_kd.visualization.line_styles import COLOURS

# Beyond these a figure would have to be taller than a screen, or its axes touch.
MOST_SLICES, MOST_AXES = 9, 7
# Perceptually even, and told apart by the colour-blind.
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
        axes.barh(places, list(shares.values()), color=COLOURS[4], height=0.65)
        for place, share in zip(places, shares.values(), strict=True):
            axes.text(share + 0.01, place, f'{share:.2f}', va='center', fontsize=9)
        axes.set_yticks(places, [shorten(names[key], 40) for key in shares])
        tidy(axes, 'importance (PED-ANOVA)', xlim=(0, 1.08))
        axes.grid(visible=False, axis='y')
        axes.invert_yaxis()


def slice_plots(points: Sequence[Point], space: Mapping[str, Any], metric: str, file: Path) -> None:
    """Draw the score over each parameter, a panel each, the others being whatever they were.

    Args:
        points: The points.
        space: What they were chosen from, by dotted key; the first nine are drawn.
        metric: Name of the score.
        file: Where to write the PNG.
    """
    keys = list(space)[:MOST_SLICES]
    names = short_keys(keys)
    columns = min(3, len(keys))
    rows = -(-len(keys) // columns)
    scores = np.array([point.score for point in points])
    with canvas(file, 0.4 + 2.3 * rows) as figure:
        panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
        for axes in panels.flat[len(keys) :]:
            axes.set_axis_off()
        for i, (axes, key) in enumerate(zip(panels.flat, keys, strict=False)):
            places, ticks, logarithmic = _axis([p.params.get(key) for p in points], space[key])
            axes.scatter(places, scores, s=22, color=COLOURS[4], alpha=0.6, linewidths=0)
            best = int(scores.argmax())
            axes.scatter(
                places[best], scores[best], s=60, facecolors='none', edgecolors='black', zorder=3
            )
            tidy(axes, '', xlabel=shorten(names[key], 30))
            if logarithmic:
                axes.set_xscale('log')
            if ticks is not None:
                axes.set_xticks(range(len(ticks)), [shorten(t, 12) for t in ticks], fontsize=8)
                axes.set_xlim(-0.5, len(ticks) - 0.5)
            if i % columns == 0:
                axes.set_ylabel(f'{metric} [%]')


def parallel_coordinates(
    points: Sequence[Point], space: Mapping[str, Any], metric: str, file: Path
) -> None:
    """Draw each point as a line over the parameters, coloured by its score, the best on top.

    Args:
        points: The points.
        space: What they were chosen from, by dotted key; the first seven are drawn.
        metric: Name of the score.
        file: Where to write the PNG.
    """
    keys = list(space)[:MOST_AXES]
    names = short_keys(keys)
    scores = np.array([point.score for point in points])
    scale = Normalize(scores.min(), scores.max() if np.ptp(scores) else scores.min() + 1)
    colours = matplotlib.colormaps[MAP]
    with canvas(file, 3.8) as figure:
        axes = figure.subplots()
        columns = []
        for i, key in enumerate(keys):
            places, ticks, logarithmic = _axis([p.params.get(key) for p in points], space[key])
            columns.append(_draw_scale(axes, i, places, ticks, logarithmic))
        lines = np.array(columns).T
        for row in np.argsort(scores):
            axes.plot(
                range(len(keys)),
                lines[row],
                color=colours(scale(scores[row])),
                linewidth=1.3,
                alpha=0.85,
            )
        longest = 26 if len(keys) <= 4 else 16
        labels = [shorten(names[key], longest) for key in keys]
        axes.set_xticks(range(len(keys)), labels, fontsize=8.5)
        axes.set(xlim=(-0.3, len(keys) - 0.6), ylim=(-0.08, 1.08))
        axes.yaxis.set_visible(False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, pad=8)
        figure.colorbar(ScalarMappable(scale, MAP), ax=axes, label=f'{metric} [%]', pad=0.02)


def _axis(values: Sequence[Any], choices: Any) -> tuple[np.ndarray, list[str] | None, bool]:
    """Places of values on an axis, names of the places where they are no numbers, and its kind."""
    continuous = isinstance(choices, Mapping) and choices.get('type') != 'choice'
    if continuous and all(map(is_number, values)):
        return np.array(values, dtype=float), None, choices.get('type') == 'loguniform'
    names = choices.get('choices', []) if isinstance(choices, Mapping) else choices
    ticks = list(dict.fromkeys([*map(setting_text, names), *map(setting_text, values)]))
    return (
        np.array([ticks.index(setting_text(value)) for value in values], dtype=float),
        ticks,
        False,
    )


def _draw_scale(
    axes: Axes, place: int, values: np.ndarray, ticks: list[str] | None, logarithmic: bool
) -> np.ndarray:
    """Draw one vertical axis with its ends, and return the values' heights from 0 to 1."""
    shown = np.log10(values) if logarithmic else values
    low, high = (0, len(ticks) - 1) if ticks is not None else (shown.min(), shown.max())
    span = high - low or 1
    axes.axvline(place, ymin=0.069, ymax=0.931, color='0.3', linewidth=1)
    if ticks is not None:
        marks = [(i, tick) for i, tick in enumerate(ticks)]
    else:
        marks = [(end, f'{10**end if logarithmic else end:.3g}') for end in (low, high)]
    for height, text in marks:
        axes.annotate(
            shorten(text, 14),
            (place, (height - low) / span),
            xytext=(4, 0),
            textcoords='offset points',
            fontsize=8,
            va='center',
            zorder=5,
            bbox=dict(facecolor='white', edgecolor='none', alpha=0.75, pad=0.8),
        )
    return (shown - low) / span
