"""A figure of rows of images, label maps and heat maps, with a legend."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.patches import Patch
from numpy.typing import ArrayLike

from mmseg_kd.records.message import Message
from mmseg_kd.visualization.canvas import canvas

# In inches. Small panels with many dots per inch keep the text readable on a page.
PANEL_WIDTH, DPI = 2.0, 176
TITLE_HEIGHT = 0.26
LEGEND_WIDTH = 1.7
HEAT_COLOURS = 'magma'


@dataclass
class Panel:
    """One panel of a row: an image, a map (H, W) of class ids, or nothing.

    Attributes:
        title: Its title; empty for none.
        image: An RGB image (H, W, 3) or a heat map (H, W).
        labels: The class ids.
        highest: The value of the heat map's last colour; the first colour is 0.
        unit: Label of a colour bar for this heat map and the panel to its left.
    """

    title: str | Message = ''
    image: np.ndarray | None = None
    labels: ArrayLike | None = None
    highest: float | None = None
    unit: str | None = None


def prediction_grid(
    rows: Sequence[Sequence[Panel]], meta: Mapping[str, Any], file: str | Path, vector: bool = False
) -> None:
    """Draw rows of panels with a legend of the classes and write the picture.

    Args:
        rows: Panels, equally many in each row; one without content leaves its place empty.
        meta: The class names `classes` and their colours `palette`, RGB from 0 to 255, as in the
            `metainfo` of a data set. Other ids (255 = ignore) are white.
        file: Where to write.
        vector: As for `canvas`.
    """
    classes, palette = meta['classes'], meta['palette']
    colours = np.full((256, 3), 255, dtype=np.uint8)
    colours[: len(palette)] = np.asarray(palette, dtype=np.uint8)
    first = rows[0][0]
    height, width = np.shape(first.image if first.image is not None else first.labels)[:2]
    figure_width = PANEL_WIDTH * len(rows[0])
    columns = max(1, int(figure_width / LEGEND_WIDTH))
    legend_height = 0.5 + 0.22 * -(-len(classes) // columns)
    lines = sum(max(1 + str(panel.title).count('\n') for panel in row) for row in rows)
    figure_height = PANEL_WIDTH * height / width * len(rows) + TITLE_HEIGHT * lines
    with canvas(file, figure_height + legend_height, figure_width, DPI, vector=vector) as figure:
        grid = figure.subplots(len(rows), len(rows[0]), squeeze=False)
        for line, row in zip(grid, rows, strict=True):
            for i, panel in enumerate(row):
                line[i].set_axis_off()
                line[i].set_title(panel.title, loc='center')
                _draw(line[max(i - 1, 0) : i + 1], panel, colours)
        look = dict(handlelength=1.2, columnspacing=1.2)
        patches = class_patches(classes, palette)
        figure.legend(handles=patches, loc='outside lower center', ncols=columns, **look)


def class_patches(classes: Sequence[str], palette: Sequence[Sequence[int]]) -> list[Patch]:
    """Make a legend's handles: the colour and the name of each class."""
    return [
        Patch(facecolor=np.asarray(colour) / 255, edgecolor='0.4', linewidth=0.5, label=name)
        for name, colour in zip(classes, palette, strict=False)
    ]


def _draw(pair: np.ndarray, panel: Panel, colours: np.ndarray) -> None:
    """Draw a panel on the second axes of a pair, which share its colour bar."""
    labels = panel.labels
    picture = panel.image if labels is None else colours[np.asarray(labels, np.uint8)]
    if picture is None:
        return
    look = dict(cmap=HEAT_COLOURS, vmin=0, vmax=panel.highest, interpolation='nearest')
    drawn = pair[-1].imshow(picture, **look)
    if panel.unit is not None:
        bar = pair[-1].figure.colorbar(drawn, ax=pair, label=panel.unit, pad=0.02)
        bar.outline.set_visible(False)
