"""Write predictions: class ids, overlays and the legend."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mmseg_kd.checkpoints import atomic_path
from mmseg_kd.visualization.canvas import canvas
from mmseg_kd.visualization.prediction_grid import class_patches

OPACITY = 0.5
JPEG_QUALITY = 92


def overlay(image: np.ndarray, ids: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Paint class ids (H, W) over an image (H, W, 3), both BGR; other ids leave it as it is."""
    colours = np.asarray(palette, np.uint8)[:, ::-1]
    painted = image.copy()
    known = ids < len(colours)
    painted[known] = colours[ids[known]]
    return cv2.addWeighted(image, 1 - OPACITY, painted, OPACITY, 0)


def write_image(image: np.ndarray, file: str | Path) -> None:
    """Write an RGB image (H, W, 3) or class ids (H, W), in the format of the file's ending."""
    with atomic_path(file) as partial:
        Image.fromarray(image).save(partial, quality=JPEG_QUALITY)


def write_legend(classes: Sequence[str], palette: Sequence[Sequence[int]], file: Path) -> None:
    """Draw the colours of the classes."""
    patches = class_patches(classes, palette)
    columns = -(-len(patches) // 20)
    rows = -(-len(patches) // columns)
    with canvas(file, 0.25 + 0.24 * rows, 2.4 * columns) as figure:
        figure.legend(handles=patches, loc='center', frameon=False, ncols=columns)
