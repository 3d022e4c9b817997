"""mmseg's training augmentation as one transform: the same bits in less time."""

# ruff: noqa: NPY002 - mmseg draws from numpy's global stream
from collections.abc import Sequence

import cv2
import numpy as np
from mmcv.transforms import BaseTransform, RandomResize
from mmseg.datasets.transforms import PhotoMetricDistortion, RandomCrop, RandomFlip, Resize
from mmseg.registry import TRANSFORMS

LEVELS = np.arange(256, dtype=np.uint8)


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
        keep_ratio: Whether to keep the aspect ratio; otherwise the image is stretched to the scale.

    Raises:
        ValueError: A size is not two whole numbers, a range is empty or a share is above 1.
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
    ) -> None:
        for name, size in dict(scale=scale, crop_size=crop_size).items():
            if not (_are_numbers(size) and all(isinstance(x, int) and x > 0 for x in size)):
                raise ValueError(f'{name}={size!r} is not two whole numbers from 1 up')
        for name, pair in dict(ratio_range=ratio_range, contrast_range=contrast_range).items():
            if not (_are_numbers(pair) and 0 <= pair[0] <= pair[1] and pair[1]):
                raise ValueError(f'{name}={pair!r} is not (least, greatest), above 0')
        for name, share in dict(cat_max_ratio=cat_max_ratio, flip_prob=flip_prob).items():
            if not 0 <= share <= 1:
                raise ValueError(f'{name}={share!r} is not a share from 0 to 1')
        self.steps = [
            RandomResize(tuple(scale), ratio_range, resize_type=Resize, keep_ratio=keep_ratio),
            HistogramCrop(tuple(crop_size), cat_max_ratio),
            QuickFlip(float(flip_prob)),
            TableDistortion(brightness_delta, contrast_range, saturation_range, hue_delta),
        ]

    def transform(self, results: dict) -> dict:
        """Augment `img` (H, W, 3) and `gt_seg_map` (H, W)."""
        for step in self.steps:
            results = step(results)
        return results


def _are_numbers(pair: object) -> bool:
    return isinstance(pair, Sequence) and [isinstance(x, int | float) for x in pair] == [True] * 2


class HistogramCrop(RandomCrop):
    """mmseg's crop; it counts the classes with a histogram instead of sorting the pixels."""

    def crop_bbox(self, results: dict) -> tuple[int, int, int, int]:
        """Return top, bottom, left and right of the crop."""
        box = self._draw(results['img'])
        for _ in range(10 if self.cat_max_ratio < 1 else 0):
            labels = self.crop(results['gt_seg_map'], box)
            pixels = cv2.calcHist([labels], [0], None, [256], [0, 256]).astype(int)
            pixels[self.ignore_index] = 0
            if pixels.any() and pixels.max() / pixels.sum() < self.cat_max_ratio:
                break
            box = self._draw(results['img'])
        return box

    def _draw(self, image: np.ndarray) -> tuple[int, int, int, int]:
        height, width = self.crop_size
        top = np.random.randint(0, max(image.shape[0] - height, 0) + 1)
        left = np.random.randint(0, max(image.shape[1] - width, 0) + 1)
        return top, top + height, left, left + width


class QuickFlip(RandomFlip):
    """mmseg's horizontal flip, done by OpenCV: mmseg returns a view, which is slow to read."""

    def _flip(self, results: dict) -> None:
        for key in ('img', *results['seg_fields']):
            results[key] = cv2.flip(results[key], 1)


class TableDistortion(PhotoMetricDistortion):
    """mmseg's distortion; it looks up the 256 possible pixel values in a table."""

    def convert(self, img: np.ndarray, alpha: float = 1, beta: float = 0) -> np.ndarray:
        """Return `alpha * img + beta`, from 0 to 255."""
        if img.dtype != np.uint8:
            return super().convert(img, alpha, beta)
        return cv2.LUT(img, super().convert(LEVELS, alpha, beta))

    def hue(self, img: np.ndarray) -> np.ndarray:
        """Shift the hue; mmseg raises an error at `hue_delta=0`."""
        return super().hue(img) if self.hue_delta else img

    def transform(self, results: dict) -> dict:
        """Distort `img` and store it channel by channel, so that it is packed without a copy."""
        results = super().transform(results)
        results['img'] = np.stack(cv2.split(results['img'])).transpose(1, 2, 0)
        return results
