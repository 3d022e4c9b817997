"""A data preprocessor that handles a training batch as one tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from mmseg.models import SegDataPreProcessor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from mmseg_kd.compat import normalises, swaps_channels
from mmseg_kd.errors import UserError


class PackedBatch(NamedTuple):
    """A training batch in one tensor each for images and labels, before normalisation.

    Attributes:
        images: uint8 (N, 3, H, W), each image in the upper left corner.
        labels: (N, 1, H, W); uint8 if they go to a GPU and every label fits, else as they came.
        sizes: Height and width of each image, (N, 2), int32.
        padded: Whether an image may be smaller than (H, W).
    """

    images: Tensor
    labels: Tensor
    sizes: Tensor
    padded: bool

    def to(self, device: torch.device) -> PackedBatch:
        """Copy the batch to a device; from page-locked memory without waiting for the copy."""
        tensors = (x.to(device, non_blocking=True) for x in (self.images, self.labels, self.sizes))
        return PackedBatch(*tensors, self.padded)


@MODELS.register_module()
class BatchDataPreProcessor(SegDataPreProcessor):
    """mmseg's SegDataPreProcessor, a batch at a time in training; the arguments are the same.

    Images and labels go to the device in one copy each, from page-locked memory and without
    waiting, and the images are normalised together. The result is the same, bit for bit. mmseg's
    own code processes tests, images that are not uint8, and samples with maps other than
    `gt_sem_seg`.
    """

    def forward(self, data: dict, training: bool = False) -> dict[str, Any]:
        """Bring a batch to the device, normalise and pad it.

        Args:
            data: `inputs`, images (3, H, W), and `data_samples` with labels (1, H, W); after
                `prepare` also `packed`.
            training: Whether to pad; in a test all images have the same size.

        Returns:
            `inputs` (N, 3, H', W') in float32, and the `data_samples` with labels of that size.
        """
        packed = self.packed(data) if training else None
        if packed is None:
            return super().forward({k: v for k, v in data.items() if k != 'packed'}, training)
        packed = packed.to(self.device)
        shape = packed.images.shape[2:]
        samples = data['data_samples']
        for sample, label, image in zip(samples, packed.labels, data['inputs'], strict=True):
            size = image.shape[1:]
            # PixelData refuses to replace a map by one of another size.
            del sample.gt_sem_seg.data
            sample.gt_sem_seg.data = label.long()
            padding = (0, shape[1] - size[1], 0, shape[0] - size[0])
            sample.set_metainfo(dict(img_shape=size, pad_shape=shape, padding_size=padding))
        return dict(inputs=self.normalised(packed), data_samples=samples)

    def packed(self, data: dict) -> PackedBatch | None:
        """Return a training batch as a `PackedBatch`, in page-locked memory for a model on a GPU.

        Args:
            data: As for `forward`.

        Returns:
            The batch; None if mmseg's own code has to process it.

        Raises:
            UserError: An image and its labels differ in size.
        """
        if 'packed' in data:
            return data['packed']
        images, samples = data['inputs'], data.get('data_samples')
        if not (samples and self._plain(images, samples)):
            return None
        sizes = [tuple(image.shape[1:]) for image in images]
        shape = self._padded(tuple(map(max, zip(*sizes, strict=True))))
        maps = [sample.gt_sem_seg.data for sample in samples]
        for size, labels, sample in zip(sizes, maps, samples, strict=True):
            # If a batch is used again, its labels are padded already.
            if labels.shape[1:] != (shape if 'padding_size' in sample else size):
                raise UserError(
                    f'{sample.get("img_path", "a sample")}: image of {size}, labels of '
                    f'{tuple(labels.shape[1:])}; every transform of the pipeline has to treat both'
                )
        on_gpu = self.device.type == 'cuda'
        dtype = _label_dtype(maps, on_gpu and self.seg_pad_val in range(256))
        return PackedBatch(
            _in_one_piece(images, shape, 0, torch.uint8, on_gpu),
            _in_one_piece(maps, shape, self.seg_pad_val, dtype, on_gpu),
            torch.tensor(sizes, dtype=torch.int32, pin_memory=on_gpu),
            any(size != shape for size in sizes),
        )

    def prepare(self, data: dict) -> dict:
        """Add `packed` to a batch; a thread can do it before the batch is needed."""
        packed = self.packed(data)
        return data if packed is None else data | dict(packed=packed)

    def normalised(self, batch: PackedBatch) -> Tensor:
        """Normalise images on their device, and set the padding around them to `pad_val`."""
        inputs = (batch.images.flip(1) if swaps_channels(self) else batch.images).float()
        if normalises(self):
            inputs.sub_(self.mean).div_(self.std)
        if batch.padded:
            inside = [
                torch.arange(length, device=inputs.device) < batch.sizes[:, axis, None]
                for axis, length in enumerate(inputs.shape[2:])
            ]
            inside = inside[0][:, None, :, None] & inside[1][:, None, None, :]
            inputs.masked_fill_(~inside, self.pad_val)
        return inputs

    def _plain(self, images: Sequence[Tensor], samples: Sequence[SegDataSample]) -> bool:
        return (
            isinstance(images, list)
            and self.batch_augments is None
            # mmseg reports an error unless exactly one of the two is set.
            and (self.size is None) != (self.size_divisor is None)
            and all(x.dtype == torch.uint8 and x.dim() == 3 and len(x) == 3 for x in images)
            and all(s.keys() == ['gt_sem_seg'] for s in samples)
        )

    def _padded(self, size: tuple[int, int]) -> tuple[int, int]:
        if self.size is not None:
            return max(size[0], self.size[0]), max(size[1], self.size[1])
        return tuple(side + -side % self.size_divisor for side in size)


def _label_dtype(maps: Sequence[Tensor], short: bool) -> torch.dtype:
    """Return uint8, an eighth of the bytes, if that is asked for and all labels fit."""
    if not short or maps[0].is_cuda:
        return maps[0].dtype
    fits = all(x.min() >= 0 and x.max() <= torch.iinfo(torch.uint8).max for x in maps)
    return torch.uint8 if fits else maps[0].dtype


def _in_one_piece(
    maps: Sequence[Tensor], shape: tuple[int, int], fill: int, dtype: torch.dtype, pinned: bool
) -> Tensor:
    """Copy maps (C, h, w) into the upper left corners of one tensor (N, C, H, W)."""
    size = (len(maps), len(maps[0]), *shape)
    batch = maps[0].new_full(size, fill, dtype=dtype, pin_memory=pinned and not maps[0].is_cuda)
    for place, x in zip(batch, maps, strict=True):
        place[:, : x.shape[1], : x.shape[2]] = x
    return batch
