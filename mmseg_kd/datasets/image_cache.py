"""Keep decoded images in memory that all data loader workers share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from mmengine.dataset import Compose
from mmengine.logging import print_log

from mmseg_kd.datasets.checked_files import LoadCheckedImage, LoadCheckedMask, open_image
from mmseg_kd.errors import UserError

MIB = 1 << 20
CHANNELS = 4  # B, G, R and the label
LOADERS = [LoadCheckedImage, LoadCheckedMask]
# An image may have several masks, and a mask several images.
PAIR = itemgetter('img_path', 'seg_map_path')


class ImageCache:
    """Images (H, W, 3) and labels (H, W) of one size, uint8, in shared memory.

    Args:
        paths: The images' files.
        shape: Their height and width; an image of another size is not kept.

    Raises:
        RuntimeError: The system cannot provide the shared memory.
    """

    def __init__(self, paths: Iterable[str], shape: tuple[int, int]) -> None:
        self.slots = {path: slot for slot, path in enumerate(paths)}
        count = len(self.slots)
        self.images = torch.empty(count, *shape, 3, dtype=torch.uint8).share_memory_()
        self.labels = torch.empty(count, *shape, dtype=torch.uint8).share_memory_()
        self.kept = torch.zeros(count, dtype=torch.bool).share_memory_()

    def __deepcopy__(self, memo: dict) -> ImageCache:
        # Images are found by their path, so subsets of the data set can share the cache.
        return self

    def get(self, path: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Return copies of an image and its labels, or None if they are not cached."""
        slot = self.slots.get(path)
        if slot is None or not self.kept[slot]:
            return None
        return self.images[slot].numpy().copy(), self.labels[slot].numpy().copy()

    def put(self, path: str, image: np.ndarray, labels: np.ndarray) -> None:
        """Store copies if both arrays are uint8 and of the cache's size."""
        if image.dtype == np.uint8 and image.shape == self.images.shape[1:]:
            slot = self.slots[path]
            self.images[slot] = torch.from_numpy(image)
            self.labels[slot] = torch.from_numpy(labels)
            # Set last, because other workers read the pixels from now on.
            self.kept[slot] = True


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
        loaders = [type(step) for step in self.pipeline.transforms[: len(LOADERS)]]
        if self.cache_mib and loaders == LOADERS:
            self.cache = self._new_cache()
        # Try only once, so that the reason is logged once.
        self.cache_mib = 0

    def prepare_data(self, idx: int) -> Any:
        """Return a sample after the pipeline."""
        if self.cache is None:
            return super().prepare_data(idx)
        results = self.get_data_info(idx)
        key = PAIR(results)
        steps, count = self.pipeline.transforms, len(LOADERS)
        if kept := self.cache.get(key):
            image, labels = kept
            results.update(img=image, img_shape=labels.shape, ori_shape=labels.shape)
            results.update(gt_seg_map=labels, seg_fields=['gt_seg_map'])
        else:
            results = Compose(steps[:count])(results)
            self.cache.put(key, results['img'], results['gt_seg_map'])
        return Compose(steps[count:])(results)

    def _new_cache(self) -> ImageCache | None:
        paths = dict.fromkeys(PAIR(self.get_data_info(index)) for index in range(len(self)))
        with open_image(next(iter(paths))[0]) as first:
            shape = first.height, first.width
        needed = len(paths) * CHANNELS * shape[0] * shape[1]
        # Every training process of this machine has its own cache.
        free = _free_memory() / int(os.environ.get('LOCAL_WORLD_SIZE', 1))
        if needed > self.cache_mib * MIB:
            reason = f'cache_mib is {self.cache_mib}'
        elif needed > free / 2:
            reason = f'only {free / MIB:.0f} MiB of shared memory are free'
        else:
            try:
                return ImageCache(paths, shape)
            except RuntimeError as error:
                reason = f'the system refuses it ({error})'
        kept = f'cache_mib: to keep {len(paths)} decoded images takes {needed / MIB:.0f} MiB'
        print_log(f'{kept}, but {reason}; they are read from files each time', logger='current')
        return None


def _free_memory() -> int:
    """Return how many bytes are free for shared memory."""
    mount, free = Path('/dev/shm'), psutil.virtual_memory().available
    return min(free, shutil.disk_usage(mount).free) if mount.is_dir() else free
