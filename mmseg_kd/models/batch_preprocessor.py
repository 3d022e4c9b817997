"""From the samples of a batch to the network's input, in one piece."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmseg.models import SegDataPreProcessor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from mmseg_kd.datasets.device_augment import apply_batch
from mmseg_kd.errors import UserError


@MODELS.register_module()
class BatchDataPreProcessor(SegDataPreProcessor):
    """mmseg's SegDataPreProcessor, a batch at a time in training; the arguments are the same.

    Images and labels go to the device in one copy each, from page-locked memory and without a
    wait, and are normalised together: the same bits. What `SegAugment(on_device=True)` has drawn
    is done to the images there.

    What it has no fast way for (tests, images that are not uint8, maps beside `gt_sem_seg`) is
    mmseg's.

    Raises:
        UserError: From `forward`, where `SegAugment(on_device=True)` left an image to be
            augmented and it cannot be.
    """

    def forward(self, data: dict, training: bool = False) -> dict[str, Any]:
        """Bring a batch to the device, augment, normalise and pad it.

        Args:
            data: `inputs`, images (3, H, W), and `data_samples` with labels (1, H, W).
            training: Whether to pad; in a test all images have one size.

        Returns:
            `inputs` (N, 3, H', W') in float32 and the `data_samples`, their labels of that size.
        """
        images, samples = data['inputs'], data.get('data_samples')
        draws = [sample.get('draw') for sample in samples or ()]
        if not (training and samples and self._plain(images, samples)):
            if any(draws):
                raise UserError(
                    'SegAugment(on_device=True) is for training alone, on uint8 images with '
                    'gt_seg_map alone: write on_device=False in this pipeline'
                )
            return super().forward(data, training)
        if any(draws) and not all(draws):
            raise UserError(
                'SegAugment: on_device=True has to be in every pipeline whose samples share a batch'
            )
        sizes = [tuple(image.shape[1:]) for image in images]
        batch = _in_one_piece(images, _greatest(sizes), 0, self.device)
        if any(draws):
            batch = apply_batch(batch, sizes, draws)
            sizes = [draw.crop for draw in draws]
        shape = self._padded(_greatest(sizes))
        maps = [sample.gt_sem_seg.data for sample in samples]
        for size, labels, sample in zip(sizes, maps, samples, strict=True):
            # The labels of a batch that is used again are padded.
            if labels.shape[1:] != (shape if 'padding_size' in sample else size):
                raise UserError(
                    f'{sample.get("img_path", "a sample")}: image of {size}, labels of '
                    f'{tuple(labels.shape[1:])}; after SegAugment(on_device=True) write '
                    "dict(type='PackSegInputs', meta_keys=('img_path', 'draw'))"
                )
        labels = _in_one_piece(maps, shape, self.seg_pad_val, self.device)
        inputs = self._normalised(batch, sizes, shape)
        for sample, label, size in zip(samples, labels, sizes, strict=True):
            # PixelData takes no map of another size in place of one.
            del sample.gt_sem_seg.data
            sample.gt_sem_seg.data = label
            padding = (0, shape[1] - size[1], 0, shape[0] - size[0])
            sample.set_metainfo(
                dict(img_shape=torch.Size(size), pad_shape=torch.Size(shape), padding_size=padding)
            )
        return dict(inputs=inputs, data_samples=samples)

    def _plain(self, images: Sequence[Tensor], samples: Sequence[SegDataSample]) -> bool:
        return (
            isinstance(images, list)
            and self.batch_augments is None
            # mmseg says that it takes one of the two.
            and (self.size is None) != (self.size_divisor is None)
            and all(x.dtype == torch.uint8 and x.dim() == 3 and len(x) == 3 for x in images)
            and all('gt_sem_seg' in s for s in samples)
            and not any('gt_edge_map' in s or 'gt_depth_map' in s for s in samples)
        )

    def _padded(self, size: tuple[int, int]) -> tuple[int, int]:
        if self.size is not None:
            return tuple(max(a, b) for a, b in zip(size, self.size, strict=True))
        step = self.size_divisor
        return tuple(-(-side // step) * step for side in size)

    def _normalised(
        self, batch: Tensor, sizes: Sequence[tuple[int, int]], shape: tuple[int, int]
    ) -> Tensor:
        inputs = batch.new_full((len(batch), 3, *shape), self.pad_val, dtype=torch.float32)
        height, width = batch.shape[2:]
        part = inputs[:, :, :height, :width]
        part.copy_(batch.flip(1) if self._channel_conversion else batch)
        if self._enable_normalize:
            part.sub_(self.mean).div_(self.std)
        for image, size in zip(part, sizes, strict=True):
            if size[0] < height:
                image[:, size[0] :] = self.pad_val
            if size[1] < width:
                image[:, : size[0], size[1] :] = self.pad_val
        return inputs


def _greatest(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return max(h for h, _ in sizes), max(w for _, w in sizes)


def _in_one_piece(
    maps: Sequence[Tensor], size: tuple[int, int], fill: int, device: torch.device
) -> Tensor:
    """Maps (C, h, w) in the upper left corners of one tensor (N, C, H, W) on the device."""
    first = maps[0]
    pinned = first.device.type == 'cpu' and device.type == 'cuda'
    batch = first.new_empty((len(maps), len(first), *size), pin_memory=pinned)
    for place, x in zip(batch, maps, strict=True):
        height, width = x.shape[1:]
        place[:, height:] = fill
        place[:, :height, width:] = fill
        place[:, :height, :width] = x
    return batch.to(device, non_blocking=True)
