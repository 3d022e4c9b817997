"""A folder of photos and masks as users have it, to convert."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

TOOL = 'dataset_converters/custom.py'
COLOURS = np.array([[0, 0, 0], [200, 10, 10], [10, 200, 10]], np.uint8)


def scenes(count: int, size: tuple[int, int] = (72, 56)) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images whose colour shows the class, and their ids."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        ids = np.array(Image.fromarray(rng.integers(0, 3, (3, 4), np.uint8)).resize(size, 0))
        image = np.clip(60 + COLOURS[ids] // 2 + rng.integers(0, 40, (*ids.shape, 3)), 0, 255)
        found.append((image.astype(np.uint8), ids))
    return found


def write(folder: Path, count: int = 8, mask=None) -> list[np.ndarray]:
    """Write JPEG photos and masks; `mask` makes the picture of an array of ids."""
    (folder / 'Photos').mkdir(parents=True)
    (folder / 'masks').mkdir()
    mask = mask or (lambda ids: Image.fromarray(COLOURS[ids]))
    for i, (image, ids) in enumerate(scenes(count)):
        Image.fromarray(image).save(folder / 'Photos' / f'Photo{i}.JPG')
        mask(ids).save(folder / 'masks' / f'photo{i}_mask.png')
    return [ids for _, ids in scenes(count)]


def converted(dest: Path) -> dict[str, np.ndarray]:
    return {
        path.name: np.asarray(Image.open(path)) for path in sorted((dest / 'masks').rglob('*.png'))
    }


def palette(ids: np.ndarray) -> Image.Image:
    picture = Image.fromarray(ids, 'P')
    picture.putpalette(COLOURS.ravel().tolist())
    return picture
