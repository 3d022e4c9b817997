"""Write images, masks of class ids and split lists, and count the classes."""

import shutil
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

from mmseg_kd.datasets.checked_files import ORIENTATION, check_sizes, open_image, turn
from mmseg_kd.datasets.custom.masks import IGNORED, Legend, Mask, Shapes, Value, read_mask, to_ids
from mmseg_kd.datasets.custom.pairs import Pair
from mmseg_kd.errors import UserError


class Counts(NamedTuple):
    """What a converted data set holds.

    Attributes:
        sizes: Width and height of each image, upright.
        pixels: Pixels of each class in each image, (images, K + 1); the last column has no class.
        train: Number of training images; they are the first ones.
    """

    sizes: list[tuple[int, int]]
    pixels: np.ndarray
    train: int

    def weights(self) -> list[float]:
        """Return the median-frequency weights of the training images (Eigen, Fergus, ICCV 2015).

        A class' frequency is its share of the pixels of the images in which it occurs; its weight
        is the median of all frequencies over its own. A class without a pixel has weight 1.
        """
        counted = self.pixels[: self.train]
        pixels, weights = counted[:, :-1], np.ones(counted.shape[1] - 1)
        images = counted.sum(1) @ (pixels > 0)
        frequency = pixels.sum(0)[images > 0] / images[images > 0]
        weights[images > 0] = np.median(frequency) / frequency
        return weights.round(3).tolist()


def write_dataset(splits: Mapping[str, Sequence[Pair]], legend: Legend, dest: Path) -> Counts:
    """Write `images/NAME`, `masks/NAME.png` and a list of names per split, `train.txt`.

    Raises:
        UserError: An image cannot be read, or its mask has another size.
    """
    sizes, pixels = [], []
    for pair in tqdm([*chain.from_iterable(splits.values())], unit='image', disable=None):
        ids = labels_of(pair, read_mask(pair.mask), legend.ids)
        write_pair(pair, ids, dest / 'images' / pair.name, dest / 'masks' / f'{pair.name}.png')
        sizes.append(ids.shape[::-1])
        found = np.bincount(ids.ravel(), minlength=IGNORED + 1)
        pixels.append([*found[: len(legend.names)], found[IGNORED]])
    for split, pairs in splits.items():
        lines = ''.join(f'{pair.name.as_posix()}\n' for pair in pairs)
        (dest / f'{split}.txt').write_text(lines, encoding='utf-8')
    return Counts(sizes, np.array(pixels), len(splits['train']))


def labels_of(pair: Pair, mask: Mask, ids: Mapping[Value, int]) -> np.ndarray:
    """Return the class ids (H, W) of a mask on the upright image.

    If the mask has the size of the image as stored, and the upright image has another size, the
    mask is turned by the image's EXIF orientation.

    Raises:
        UserError: The image cannot be read, or the mask has another size.
    """
    with open_image(pair.image) as picture:
        stored, orientation = picture.size, picture.getexif().get(ORIENTATION)
        upright = ImageOps.exif_transpose(picture).size
    if isinstance(mask, Shapes) and mask.size not in (None, upright):
        raise UserError(
            f'{pair.mask}: drawn on an image of {mask.size[0]}x{mask.size[1]}, but {pair.image} is '
            f'{upright[0]}x{upright[1]} upright; use the images that the shapes were drawn on'
        )
    # Polygons are drawn on the upright image.
    labels = to_ids(mask, ids, upright)
    if labels.shape[::-1] == stored != upright:
        labels = turn(labels, orientation)
    check_sizes(dict(img_path=pair.image, seg_map_path=pair.mask), upright[::-1], labels.shape)
    return labels


def write_pair(pair: Pair, labels: np.ndarray, image: Path, mask: Path) -> None:
    """Copy an image as it is, and write its class ids as a PNG."""
    for file in (image, mask):
        file.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(pair.image, image)
    Image.fromarray(labels).save(mask)
