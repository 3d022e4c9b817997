"""Fuse mmseg's training augmentation into one transform: the same bits in less time."""

# ruff: noqa: NPY002 - mmseg draws from numpy's global stream
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from mmcv.image import rescale_size
from mmcv.transforms import BaseTransform, RandomResize
from mmseg.datasets.transforms import PhotoMetricDistortion, RandomCrop, RandomFlip, Resize
from mmseg.registry import TRANSFORMS
from numpy import random

from mmseg_kd.datasets.checked_files import check_sizes
from mmseg_kd.errors import UserError

IGNORED = 255
LEVELS = np.arange(256, dtype=np.uint8)


@dataclass(frozen=True)
class Draw:
    """The random parameters of one sample. Tables have 256 entries; None changes nothing."""

    scale: tuple[int, int]  # (width, height) to fit into
    size: tuple[int, int]  # (width, height) after the resize
    top: int
    left: int
    crop: tuple[int, int]  # (height, width)
    flip: bool
    tones_first: np.ndarray | None  # of B, G and R, before saturation and hue
    saturation: np.ndarray | None
    hue: np.ndarray | None
    tones_last: np.ndarray | None  # of B, G and R, after them


@TRANSFORMS.register_module()
class SegAugment(BaseTransform):
    """mmseg's `RandomResize`, `RandomCrop`, `RandomFlip` and `PhotoMetricDistortion` in one.

    It draws the same numbers from `numpy.random` in the same order and gives the same bits. As with
    mmseg, the result is smaller than the crop if the resized image is.

    Args:
        scale: Width and height at ratio 1.
        ratio_range: Smallest and largest ratio.
        crop_size: Height and width of the crop.
        cat_max_ratio: A crop with a greater share of one class is drawn again, at most ten times.
        flip_prob: Probability of a horizontal flip.
        brightness_delta: Largest shift of the brightness.
        contrast_range: Smallest and largest factor of the contrast.
        saturation_range: Smallest and largest factor of the saturation.
        hue_delta: Largest shift of the hue, in steps of 2 degrees.
        keep_ratio: Whether the resized image fits into the scale or fills it.
        fused: False runs mmseg's four transforms. They also run for images that are not uint8 and
            for samples with maps other than `gt_seg_map`.

    Raises:
        ValueError: A size is not two whole numbers, or the range of ratios is empty.
        UserError: A share is above 1, or a range is reversed. During a transform: image and mask
            differ in size, or the image is too thin.
    """

    def __init__(
        self,
        scale: Sequence[int],
        ratio_range: Sequence[float],
        crop_size: Sequence[int],
        cat_max_ratio: float = 1.0,
        flip_prob: float = 0.5,
        brightness_delta: int = 32,
        contrast_range: Sequence[float] = (0.5, 1.5),
        saturation_range: Sequence[float] = (0.5, 1.5),
        hue_delta: int = 18,
        keep_ratio: bool = True,
        fused: bool = True,
    ) -> None:
        for name, share in dict(cat_max_ratio=cat_max_ratio, flip_prob=flip_prob).items():
            if not 0 <= share <= 1:
                raise UserError(f'SegAugment: {name}={share!r} is not a share from 0 to 1')
        ranges = dict(contrast_range=contrast_range, saturation_range=saturation_range)
        for name, (least, greatest) in ranges.items():
            if not 0 <= least <= greatest:
                raise UserError(f'SegAugment: {name}={(least, greatest)} is not (least, greatest)')
        for key, size in (('scale', scale), ('crop_size', crop_size)):
            if not _is_size(size):
                raise ValueError(f'{key}={size!r} is not two whole numbers from 1 up')
        if not (_are_numbers(ratio_range) and 0 < ratio_range[0] <= ratio_range[1]):
            raise ValueError(f'ratio_range={ratio_range!r} is not (least, greatest), above 0')
        self.scale, self.ratio_range, self.keep_ratio = tuple(scale), ratio_range, keep_ratio
        self.crop_size, self.cat_max_ratio = tuple(crop_size), cat_max_ratio
        self.flip_prob = float(flip_prob)
        self.brightness_delta, self.contrast_range = brightness_delta, contrast_range
        self.saturation_range, self.hue_delta = saturation_range, hue_delta
        self.fused = fused
        self.stock = [
            RandomResize(self.scale, ratio_range, resize_type=Resize, keep_ratio=keep_ratio),
            RandomCrop(self.crop_size, cat_max_ratio),
            RandomFlip(self.flip_prob),
            PhotoMetricDistortion(brightness_delta, contrast_range, saturation_range, hue_delta),
        ]

    def transform(self, results: dict) -> dict:
        """Augment `img` (H, W, 3) and `gt_seg_map` (H, W)."""
        image, labels = results['img'], results['gt_seg_map']
        plain = image.dtype == np.uint8 and results['seg_fields'] == ['gt_seg_map']
        if not (self.fused and plain):
            for transform in self.stock:
                results = transform(results)
            return results
        check_sizes(results, image.shape, labels.shape)
        height, width = labels.shape
        draw, labels = self.draw(labels, results.get('img_path', 'a sample'))
        return results | dict(
            img=apply(draw, image),
            gt_seg_map=labels,
            img_shape=labels.shape,
            scale=draw.scale,
            scale_factor=(draw.size[0] / width, draw.size[1] / height),
            keep_ratio=self.keep_ratio,
            flip=draw.flip,
            flip_direction='horizontal' if draw.flip else None,
        )

    def draw(self, labels: np.ndarray, path: str = 'a sample') -> tuple[Draw, np.ndarray]:
        """Draw the parameters of a sample; return them with its augmented labels.

        Args:
            labels: Class ids (H, W), on which the crop depends.
            path: The sample's name in errors.
        """
        least, greatest = self.ratio_range
        ratio = random.random_sample() * (greatest - least) + least
        scale = int(self.scale[0] * ratio), int(self.scale[1] * ratio)
        size = rescale_size(labels.shape[::-1], scale) if self.keep_ratio else scale
        if min(size) < 1:
            raise UserError(
                f'{path}: {labels.shape[1]}x{labels.shape[0]} pixels, of which the scale {scale} '
                'leaves none; remove the image'
            )
        labels = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
        top, left = self._draw_corner(labels)
        labels = self._crop(labels, top, left)
        flip = bool(random.random_sample() < self.flip_prob)
        draw = Draw(scale, size, top, left, labels.shape, flip, *self._draw_colour())
        return draw, cv2.flip(labels, 1) if flip else labels

    def _draw_corner(self, labels: np.ndarray) -> tuple[int, int]:
        margins = [max(a - b, 0) for a, b in zip(labels.shape, self.crop_size, strict=True)]
        corner = self._corner(margins)
        if self.cat_max_ratio < 1:
            for _ in range(10):
                if self._is_varied(self._crop(labels, *corner)):
                    break
                corner = self._corner(margins)
        return corner

    @staticmethod
    def _corner(margins: Sequence[int]) -> tuple[int, int]:
        return random.randint(0, margins[0] + 1), random.randint(0, margins[1] + 1)

    def _is_varied(self, labels: np.ndarray) -> bool:
        # A histogram is faster than np.unique, which sorts the pixels.
        pixels = cv2.calcHist([labels], [0], None, [256], [0, 256])[:IGNORED].astype(int)
        total = pixels.sum()
        return bool(total and pixels.max() / total < self.cat_max_ratio)

    def _crop(self, array: np.ndarray, top: int, left: int) -> np.ndarray:
        return array[top : top + self.crop_size[0], left : left + self.crop_size[1]]

    def _draw_colour(self) -> tuple[np.ndarray | None, ...]:
        """Draw the four tables of a `Draw`."""
        delta, steps = self.brightness_delta, self.hue_delta
        brightness = _tones(1, random.uniform(-delta, delta)) if random.randint(2) else None
        contrast_first = random.randint(2) == 1
        contrast = self._draw_factor(self.contrast_range) if contrast_first else None
        saturation = self._draw_factor(self.saturation_range)
        hue = None
        if random.randint(2):
            hue = ((LEVELS.astype(int) + random.randint(-steps, steps)) % 180).astype(np.uint8)
        if contrast_first:
            return _chain(brightness, contrast), saturation, hue, None
        contrast = self._draw_factor(self.contrast_range)
        if saturation is None and hue is None:
            return _chain(brightness, contrast), None, None, None
        return brightness, saturation, hue, contrast

    @staticmethod
    def _draw_factor(limits: Sequence[float]) -> np.ndarray | None:
        return _tones(random.uniform(*limits), 0) if random.randint(2) else None


def _are_numbers(pair: object) -> bool:
    return (
        isinstance(pair, Sequence)
        and len(pair) == 2
        and all(isinstance(x, int | float) and not isinstance(x, bool) for x in pair)
    )


def _is_size(pair: object) -> bool:
    return _are_numbers(pair) and all(isinstance(x, int) and x > 0 for x in pair)


def _tones(factor: float, shift: float) -> np.ndarray:
    return np.clip(LEVELS.astype(np.float32) * factor + shift, 0, 255).astype(np.uint8)


def _chain(first: np.ndarray | None, second: np.ndarray | None) -> np.ndarray | None:
    return first if second is None else second if first is None else second[first]


def apply(draw: Draw, image: np.ndarray) -> np.ndarray:
    """Resize, crop, flip and colour a uint8 image (H, W, 3).

    Returns:
        A view (H, W, 3) of memory in the order (3, H, W), which is packed without a copy.
    """
    image = cv2.resize(image, draw.size)
    image = image[draw.top : draw.top + draw.crop[0], draw.left : draw.left + draw.crop[1]]
    # OpenCV is slower on images that are not contiguous.
    image = cv2.flip(image, 1) if draw.flip else np.ascontiguousarray(image)
    if draw.tones_first is not None:
        image = cv2.LUT(image, draw.tones_first)
    # One conversion to HSV and back for each, because a shared one would round differently.
    for channel, table in ((1, draw.saturation), (0, draw.hue)):
        if table is not None:
            image = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
            image[..., channel] = cv2.LUT(image[..., channel], table)
            image = cv2.cvtColor(image, cv2.COLOR_HSV2BGR)
    if draw.tones_last is not None:
        image = cv2.LUT(image, draw.tones_last)
    planes = np.empty((3, *image.shape[:2]), np.uint8)
    cv2.split(image, list(planes))
    return planes.transpose(1, 2, 0)
