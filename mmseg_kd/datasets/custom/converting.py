"""Write images, masks of class ids and split lists, and count the classes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from PIL.ExifTags import Base
from tqdm import tqdm

from mmseg_kd.datasets.checked_files import check_sizes, open_image
from mmseg_kd.datasets.custom.masks import IGNORED, Legend, read_mask, to_ids
from mmseg_kd.datasets.custom.pairs import Pair


@dataclass
class Counts:
    """What a converted data set holds.

    Attributes:
        sizes: Width and height of each image, upright.
        pixels: Pixels of each class, (K,).
        images: Pixels of all images in which a class occurs, (K,).
        ignored: Pixels without a class.
    """

    sizes: list[tuple[int, int]]
    pixels: np.ndarray
    images: np.ndarray
    ignored: int = 0

    def weights(self) -> list[float]:
        """Return median-frequency class weights (Eigen and Fergus, ICCV 2015).

        A class' frequency is its share of the pixels of the images in which it occurs; its weight
        is the median of all frequencies over its own. A class without a pixel has weight 1.
        """
        present, weights = self.pixels > 0, np.ones(len(self.pixels))
        frequency = self.pixels[present] / self.images[present]
        weights[present] = np.median(frequency) / frequency
        return weights.round(3).tolist()


def write_dataset(splits: Mapping[str, Sequence[Pair]], legend: Legend, dest: Path) -> Counts:
    """Write `images/NAME`, `masks/NAME.png` and a list of names per split, `train.txt`.

    An image is copied as it is. Its mask is turned with it where only the image has an EXIF
    orientation and the mask is drawn on the image as stored.

    Raises:
        UserError: An image cannot be read, or its mask has another size.
    """
    count = len(legend.names)
    counts = Counts([], np.zeros(count, np.int64), np.zeros(count, np.int64))
    with tqdm(total=sum(map(len, splits.values())), unit='image', disable=None) as bar:
        for split, pairs in splits.items():
            for pair in pairs:
                ids = _ids_of(pair, legend, counts)
                target = dest / 'masks' / f'{pair.name.as_posix()}.png'
                for file in (target, dest / 'images' / pair.name):
                    file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(ids).save(target)
                shutil.copyfile(pair.image, dest / 'images' / pair.name)
                bar.update()
            lines = ''.join(f'{pair.name.as_posix()}\n' for pair in pairs)
            (dest / f'{split}.txt').write_text(lines, encoding='utf-8')
    return counts


def _ids_of(pair: Pair, legend: Legend, counts: Counts) -> np.ndarray:
    """Read a mask as class ids on the upright image, and count it."""
    with open_image(pair.image) as picture:
        stored, orientation = picture.size, picture.getexif().get(Base.Orientation)
        upright = ImageOps.exif_transpose(picture).size
    # Polygons are drawn on the upright image.
    mask = Image.fromarray(to_ids(read_mask(pair.mask), legend.ids, upright))
    if mask.size == stored != upright:
        mask.getexif()[Base.Orientation] = orientation
        mask = ImageOps.exif_transpose(mask)
    ids = np.array(mask)
    check_sizes(dict(img_path=pair.image, seg_map_path=pair.mask), upright[::-1], ids.shape)
    pixels = np.bincount(ids.ravel(), minlength=IGNORED + 1)
    present = pixels[: len(counts.pixels)]
    counts.sizes.append(upright)
    counts.pixels += present
    counts.images += ids.size * (present > 0)
    counts.ignored += int(pixels[IGNORED])
    return ids
