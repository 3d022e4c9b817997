"""Write predictions: class ids, overlays and the legend."""

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


def write_ids(ids: np.ndarray, file: Path) -> None:
    """Write class ids (H, W) as a PNG of 8 bits."""
    _write(Image.fromarray(ids), file, format='PNG')


def write_picture(image: np.ndarray, file: Path) -> None:
    """Write a BGR image as a JPEG."""
    picture = Image.fromarray(np.ascontiguousarray(image[..., ::-1]))
    _write(picture, file, format='JPEG', quality=JPEG_QUALITY)


def _write(picture: Image.Image, file: Path, **options: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(file) as partial:
        picture.save(partial, **options)


def write_legend(classes: Sequence[str], palette: Sequence[Sequence[int]], file: Path) -> None:
    """Draw the colours of the classes."""
    patches = class_patches(classes, palette)
    columns = -(-len(patches) // 20)
    rows = -(-len(patches) // columns)
    with canvas(file, 0.25 + 0.24 * rows, 2.4 * columns) as figure:
        figure.legend(handles=patches, loc='center', frameon=False, ncols=columns)
