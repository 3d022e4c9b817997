"""Keep decoded images in memory that all data loader workers share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmengine.logging import print_log
from mmseg.datasets.transforms import LoadAnnotations
from PIL import Image

from mmseg_kd.datasets.checked_files import ON_ITS_SIDE, UNREADABLE, check_sizes, orientation
from mmseg_kd.errors import UserError

MIB = 1 << 20
LOADERS = (LoadImageFromFile, LoadAnnotations)
CHANNELS = 4  # B, G, R and the label


class ImageCache:
    """Images (H, W, 3) with labels (H, W), uint8, in one block of shared memory.

    Args:
        shapes: Height and width of each image by its path; (0, 0) is not cached.

    Raises:
        RuntimeError: The system cannot provide the shared memory.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, int]]) -> None:
        self.shapes = list(shapes.values())
        self.slots = {path: slot for slot, path in enumerate(shapes)}
        ends = accumulate(CHANNELS * height * width for height, width in self.shapes)
        self.bounds = [0, *ends]
        self.pixels = torch.empty(self.bounds[-1], dtype=torch.uint8).share_memory_()
        self.kept = torch.zeros(len(self.shapes), dtype=torch.bool).share_memory_()

    def __deepcopy__(self, memo: dict) -> ImageCache:
        # Images are found by their path, so subsets of the data set can share the cache.
        return self

    def get(self, path: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Return copies of an image and its labels, or None if they are not cached."""
        slot = self.slots.get(path)
        if slot is None or not self.kept[slot]:
            return None
        image, labels = self._views(slot)
        return image.copy(), labels.copy()

    def put(self, path: str, image: np.ndarray, labels: np.ndarray) -> None:
        """Store copies if both arrays are uint8 and of the expected shape."""
        slot = self.slots.get(path)
        if slot is None or {image.dtype, labels.dtype} != {np.dtype(np.uint8)}:
            return
        views = self._views(slot)
        if (image.shape, labels.shape) != (views[0].shape, views[1].shape) or not labels.size:
            return
        views[0][:], views[1][:] = image, labels
        # Set last, because other workers read the pixels from now on.
        self.kept[slot] = True

    def _views(self, slot: int) -> tuple[np.ndarray, np.ndarray]:
        height, width = self.shapes[slot]
        start, end = self.bounds[slot : slot + 2]
        labels = end - height * width
        # Created here, because as an attribute it would be copied into each spawned worker.
        pixels = self.pixels.numpy()
        return (
            pixels[start:labels].reshape(height, width, 3),
            pixels[labels:end].reshape(height, width),
        )


class CachedDataset:
    """Mixin for a `BaseSegDataset`: an image is decoded once, by the worker that needs it first.

    The cache holds the results of `LoadImageFromFile` and `LoadAnnotations` at the start of the
    pipeline; the transforms after them get copies.

    Args:
        cache_mib: Maximum size in MiB; 0 switches the cache off. A split that needs more, or more
            than half of the free memory, is not cached, and the log says so.
        **kwargs: The arguments of the data set.
    """

    cache: ImageCache | None = None

    def __init__(self, cache_mib: int = 0, **kwargs: Any) -> None:
        if not isinstance(cache_mib, int | float) or cache_mib < 0:
            raise UserError(f'dataset.cache_mib: {cache_mib!r} is not a number of MiB; write 1024')
        self.cache_mib = cache_mib
        super().__init__(**kwargs)

    def full_init(self) -> None:
        """List the images and reserve memory for them."""
        super().full_init()
        if self.cache_mib and self.cache is None:
            self.cache = self._new_cache()
            if self.cache is None:
                # Not tried again, so that the reason is logged once.
                self.cache_mib = 0

    def check(self, info: dict) -> None:
        """Check both files of a sample before they are loaded; raise UserError."""

    def prepare_data(self, idx: int) -> Any:
        """Return a sample after the pipeline."""
        results = self.get_data_info(idx)
        loaders, rest = self._divided_pipeline()
        kept = self.cache.get(results['img_path']) if self.cache and loaders else None
        if kept:
            image, labels = kept
            results.update(img=image, img_shape=labels.shape, ori_shape=labels.shape)
            results.update(gt_seg_map=labels, seg_fields=['gt_seg_map'])
            return _run(rest, results)
        self.check(results)
        loaded = _run(loaders, results)
        if loaders and loaded:
            check_sizes(loaded, loaded['img'].shape, loaded['gt_seg_map'].shape)
        if self.cache and loaders and loaded:
            self.cache.put(loaded['img_path'], loaded['img'], loaded['gt_seg_map'])
        return _run(rest, loaded)

    def _divided_pipeline(self) -> tuple[list[BaseTransform], list[BaseTransform]]:
        transforms = self.pipeline.transforms
        head = tuple(type(transform) for transform in transforms[: len(LOADERS)])
        steps = len(LOADERS) if head == LOADERS else 0
        return transforms[:steps], transforms[steps:]

    def _new_cache(self) -> ImageCache | None:
        if not self._divided_pipeline()[0]:
            return None
        paths = (self.get_data_info(index)['img_path'] for index in range(len(self)))
        shapes = {path: _shape(path) for path in paths}
        needed = sum(CHANNELS * height * width for height, width in shapes.values())
        # Every training process of this machine has its own cache.
        free = _free_memory() / int(os.environ.get('LOCAL_WORLD_SIZE', 1))
        if needed > self.cache_mib * MIB:
            reason = f'cache_mib is {self.cache_mib}'
        elif needed > free / 2:
            reason = f'only {free / MIB:.0f} MiB of shared memory are free'
        else:
            try:
                return ImageCache(shapes)
            except RuntimeError as error:
                reason = f'the system refuses it ({error})'
        print_log(
            f'{type(self).__name__}: to keep {len(shapes)} decoded images takes '
            f'{needed / MIB:.0f} MiB, but {reason}; they are read from their files each time',
            logger='current',
        )
        return None


def _run(transforms: Iterable[BaseTransform], results: dict | None) -> Any:
    for transform in transforms:
        if results is None:
            break
        results = transform(results)
    return results


def _shape(path: str) -> tuple[int, int]:
    """Return height and width of an image as it is loaded; (0, 0) if it cannot be read."""
    try:
        with Image.open(path) as image:
            size = image.height, image.width
            return size[::-1] if orientation(image) >= ON_ITS_SIDE else size
    except UNREADABLE:
        return 0, 0


def _free_memory() -> int:
    """Return how many bytes are free for shared memory."""
    mount, free = Path('/dev/shm'), psutil.virtual_memory().available
    return min(free, shutil.disk_usage(mount).free) if mount.is_dir() else free
