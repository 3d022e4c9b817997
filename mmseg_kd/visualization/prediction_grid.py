"""A figure of rows of images and label maps, with a legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import ArrayLike

from mmseg_kd.visualization.canvas import canvas

# In inches.
PANEL_WIDTH = 3.2
LEGEND_COLUMNS = 6


@dataclass
class Panel:
    """One panel of a row: an RGB image (H, W, 3), or a map of class ids (H, W)."""

    title: str
    image: np.ndarray | None = None
    labels: ArrayLike | None = None


def prediction_grid(
    rows: Sequence[Sequence[Panel]],
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
    file: str | Path | None,
    window: Figure | None = None,
) -> None:
    """Draw rows of panels with a legend of the classes and write the picture.

    Args:
        rows: Panels; the titles of the first row head the columns.
        classes: Class names.
        palette: Their RGB colours, 0 to 255. Other ids (255 = ignore) are white.
        file: Where to write, or None.
        window: As for `canvas`.
    """
    colours = np.full((256, 3), 255, dtype=np.uint8)
    colours[: len(palette)] = np.asarray(palette, dtype=np.uint8)
    pictures = [
        panel.image if panel.image is not None else colours[np.asarray(panel.labels, np.uint8)]
        for row in rows
        for panel in row
    ]
    height, width = pictures[0].shape[:2]
    legend_height = 0.6 + 0.28 * -(-len(classes) // LEGEND_COLUMNS)
    figure_height = PANEL_WIDTH * height / width * len(rows) + legend_height
    figure_width = PANEL_WIDTH * len(rows[0])
    with canvas(file, figure_height, figure_width, 110, 11, window) as figure:
        grid = figure.subplots(len(rows), len(rows[0]), squeeze=False)
        for axes, panel in zip(grid[0], rows[0], strict=True):
            axes.set_title(panel.title)
        for axes, picture in zip(grid.flat, pictures, strict=True):
            axes.imshow(picture, interpolation='nearest')
            axes.set_axis_off()
        patches = [
            Patch(facecolor=np.asarray(colour) / 255, edgecolor='0.4', linewidth=0.5, label=name)
            for name, colour in zip(classes, palette, strict=False)
        ]
        look = dict(frameon=False, fontsize=10, handlelength=1.2, columnspacing=1.2)
        where = 'outside lower center'
        figure.legend(handles=patches, loc=where, ncols=LEGEND_COLUMNS, **look)
