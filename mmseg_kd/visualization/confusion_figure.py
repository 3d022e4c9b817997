"""A figure of a confusion matrix."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmseg_kd.records.message import message, number

# In inches; a plain cell has no number.
CELL, PLAIN_CELL, MARGIN = 0.62, 0.18, 2.4
# With more classes the numbers would be too small on the page of a report.
MOST_NUMBERED = 30


def draw_confusion(
    figure: Figure,
    matrix: np.ndarray,
    classes: Sequence[str],
    title: str | None = None,
    baseline: np.ndarray | None = None,
) -> None:
    """Draw a confusion matrix in percent of each true class, or a difference; row = truth.

    Args:
        figure: An empty figure; its size is set.
        matrix: Counts (K, K). A class without a true pixel has an empty row.
        classes: K names.
        title: Title of the figure.
        baseline: Counts (K, K) whose shares are subtracted; the difference is in percentage points.
    """
    # The lightness of Blues varies, which suits colour-blind people and black-and-white printers.
    theme, shares, highest, lowest = 'Blues', _shares(matrix), 100.0, 0.0
    label = message('share of the true class (%)')
    if baseline is not None:
        # Blue where there is more, red where there is less.
        theme, shares = 'RdBu', shares - _shares(baseline)
        highest = max(1.0, float(np.nanmax(np.abs(shares), initial=0.0)))
        lowest, label = -highest, message('difference in the share of the true class (points)')
    numbered = len(classes) <= MOST_NUMBERED
    side = (CELL if numbered else PLAIN_CELL) * len(classes) + MARGIN
    figure.set_size_inches(side + 0.9, side)
    axes = figure.subplots()
    colours = colormaps[theme].with_extremes(bad='0.88')
    look = dict(cmap=colours, vmin=lowest, vmax=highest, edgecolors='white', linewidth=1.2)
    image = axes.pcolormesh(shares, **look)
    centres = np.arange(len(classes)) + 0.5
    axes.set_xticks(centres, classes, rotation=45, ha='right', rotation_mode='anchor')
    axes.set_yticks(centres, classes)
    axes.set(xlabel=message('predicted'), ylabel=message('truth'), aspect='equal')
    axes.invert_yaxis()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if numbered:
        form = '.0f' if baseline is None else '+.0f'
        _write_numbers(axes, shares, image.to_rgba(shares)[..., :3], form)
    figure.colorbar(image, ax=axes, shrink=0.6, label=str(label)).outline.set_visible(False)
    axes.set_title(title or '', loc='left', pad=12)


def _shares(matrix: np.ndarray) -> np.ndarray:
    truth = matrix.sum(axis=1, keepdims=True)
    return np.divide(100.0 * matrix, truth, out=np.full(matrix.shape, np.nan), where=truth > 0)


def _write_numbers(axes: Axes, shares: np.ndarray, colours: np.ndarray, form: str) -> None:
    dark = colours @ (0.299, 0.587, 0.114) < 0.55
    for (i, j), share in np.ndenumerate(shares):
        text = '-' if np.isnan(share) else number(round(share), form if round(share) else '.0f')
        # Cells that round to 0 would clutter the figure.
        text = text if abs(share) >= 0.5 or i == j else ''
        look = dict(color='white' if dark[i, j] else '0.15', weight='bold' if i == j else 'normal')
        axes.text(j + 0.5, i + 0.5, text, ha='center', va='center', **look)
