"""A figure of rows of images and label maps, with a legend."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
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
    file: str | Path | BytesIO,
) -> None:
    """Draw rows of panels with a legend of the classes and write a PNG.

    Args:
        rows: Panels; the titles of the first row head the columns.
        classes: Class names.
        palette: Their RGB colours, 0 to 255. Other ids (255 = ignore) are white.
        file: Where to write.
    """
    colours = np.full((256, 3), 255, dtype=np.uint8)
    colours[: len(palette)] = np.asarray(palette, dtype=np.uint8)
    pictures = [[_picture(panel, colours) for panel in row] for row in rows]
    height, width = pictures[0][0].shape[:2]
    legend_height = 0.6 + 0.28 * -(-len(classes) // LEGEND_COLUMNS)
    figure_height = PANEL_WIDTH * height / width * len(rows) + legend_height
    with canvas(file, figure_height, PANEL_WIDTH * len(rows[0]), 110, font_size=11) as figure:
        grid = figure.subplots(len(rows), len(rows[0]), squeeze=False)
        for axes, panel in zip(grid[0], rows[0], strict=True):
            axes.set_title(panel.title)
        for axes, picture in zip(grid.flat, itertools.chain(*pictures), strict=True):
            axes.imshow(picture, interpolation='nearest')
            axes.set_axis_off()
        patches = [
            Patch(facecolor=np.asarray(colour) / 255, edgecolor='0.4', linewidth=0.5, label=name)
            for name, colour in zip(classes, palette, strict=False)
        ]
        look = dict(frameon=False, fontsize=10, handlelength=1.2, columnspacing=1.2)
        where = 'outside lower center'
        figure.legend(handles=patches, loc=where, ncols=LEGEND_COLUMNS, **look)


def _picture(panel: Panel, colours: np.ndarray) -> np.ndarray:
    if panel.image is not None:
        return panel.image
    return colours[np.asarray(panel.labels).astype(np.uint8)]
