"""Rows of pictures with their label maps and a legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import ArrayLike

from mmseg_kd.visualization.fonts import font_settings
from mmseg_kd.visualization.literal_text import literal_text

LEGEND_COLUMNS = 6


@dataclass
class Panel:
    """One picture of a row: an RGB image (H, W, 3), or a map of class ids (H, W)."""

    title: str
    image: np.ndarray | None = None
    labels: ArrayLike | None = None


def prediction_grid(
    rows: Sequence[Sequence[Panel]],
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
    file: str | Path,
) -> None:
    """Draw rows of panels with a legend of the classes and write a PNG.

    Args:
        rows: Panels; every row has the same titles, which head the columns.
        classes: Class names.
        palette: Their RGB colours, 0 to 255. Other ids (255 = ignore) come out white.
        file: Where to write.
    """
    colours = np.full((256, 3), 255, dtype=np.uint8)
    colours[: len(palette)] = np.asarray(palette, dtype=np.uint8)
    pictures = [[_picture(panel, colours) for panel in row] for row in rows]
    height, width = pictures[0][0].shape[:2]
    panel_width = 3.2
    legend_rows = -(-len(classes) // LEGEND_COLUMNS)
    legend_height = 0.25 + 0.28 * legend_rows
    size = (
        panel_width * len(rows[0]),
        panel_width * height / width * len(rows) + 0.35 + legend_height,
    )
    with matplotlib.rc_context(font_settings(11)):
        figure = Figure(figsize=size, layout='constrained')
        axes = figure.subplots(len(rows), len(rows[0]), squeeze=False)
        for i, row in enumerate(rows):
            for j, panel in enumerate(row):
                axes[i, j].imshow(pictures[i][j], interpolation='nearest')
                axes[i, j].set_axis_off()
                if i == 0:
                    axes[i, j].set_title(panel.title)
        patches = [
            Patch(facecolor=np.asarray(colour) / 255, edgecolor='0.4', linewidth=0.5, label=name)
            for name, colour in zip(classes, palette, strict=False)
        ]
        figure.legend(
            handles=patches,
            loc='outside lower center',
            ncols=LEGEND_COLUMNS,
            frameon=False,
            fontsize=10,
            handlelength=1.2,
            columnspacing=1.2,
        )
        literal_text(figure)
        figure.savefig(file, dpi=110, format='png')


def _picture(panel: Panel, colours: np.ndarray) -> np.ndarray:
    if panel.image is not None:
        return panel.image
    return colours[np.asarray(panel.labels).astype(np.uint8)]
