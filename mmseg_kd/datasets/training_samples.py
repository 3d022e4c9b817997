"""Show images and labels as loaded and as training sees them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.dataset import BaseDataset
from mmseg.registry import DATA_SAMPLERS, DATASETS, MODELS
from torch import Tensor

from mmseg_kd.datasets.listing import check_listing
from mmseg_kd.datasets.wrappers import walk
from mmseg_kd.errors import UserError


@dataclass(frozen=True)
class TrainingSample:
    """An image and its labels before and after augmentation.

    Attributes:
        path: The image's file.
        image: As loaded, RGB (H, W, 3).
        labels: Class ids (H, W).
        seen: The network's input without its normalisation, RGB (H', W', 3).
        seen_labels: Class ids (H', W'), 255 for ignored pixels.
    """

    path: str
    image: np.ndarray
    labels: np.ndarray
    seen: np.ndarray
    seen_labels: np.ndarray


class TrainingSamples:
    """The samples of a training, in its order and with its augmentation.

    With `SeededInfiniteSampler` they are exactly the samples of the run with that seed.

    Args:
        dataloader: The config's `train_dataloader`.
        preprocessor: The config's `model.data_preprocessor`, which pads the samples.
        seed: The config's `randomness.seed`.
    """

    def __init__(
        self, dataloader: dict, preprocessor: dict | None, seed: int | None = None
    ) -> None:
        check_listing(dataloader.dataset, 'train_dataloader.dataset')
        self.dataset = _build(dataloader.dataset, loading_only=False)
        self.originals = _build(dataloader.dataset, loading_only=True)
        arguments = dict(dataset=self.dataset, seed=seed)
        self.sampler = DATA_SAMPLERS.build(dataloader.sampler, default_args=arguments)
        self.settings = dict(preprocessor or {})
        self.preprocessor = MODELS.build(preprocessor) if preprocessor else None

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.dataset)

    def first(self, count: int) -> Iterator[TrainingSample]:
        """Yield the first samples of the training."""
        for index in islice(self.sampler, count):
            item, original = self.dataset[index], self.originals[index]
            if 'data_samples' not in item:
                raise UserError('train_dataloader.dataset.pipeline has no PackSegInputs to end it')
            inputs, sample = item['inputs'], item['data_samples']
            if self.preprocessor is not None:
                batch = {'inputs': [inputs], 'data_samples': [sample]}
                batch = self.preprocessor(batch, training=True)
                inputs, (sample,) = batch['inputs'][0], batch['data_samples']
            yield TrainingSample(
                path=original['img_path'],
                image=original['img'][..., ::-1],
                labels=original['gt_seg_map'],
                seen=self._as_picture(inputs),
                seen_labels=sample.gt_sem_seg.data[0].numpy(),
            )

    def _as_picture(self, inputs: Tensor) -> np.ndarray:
        """Undo normalisation and channel order of an input (3, H, W): RGB (H, W, 3), 0 to 255."""
        if self.settings.get('mean') is not None:
            inputs = inputs * self.preprocessor.std + self.preprocessor.mean
        if not (self.settings.get('bgr_to_rgb') or self.settings.get('rgb_to_bgr')):
            # mmcv reads BGR.
            inputs = inputs.flip(0)
        return inputs.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()


def _build(dataset: dict, loading_only: bool) -> BaseDataset:
    """Build a data set; on request, leave out all but the steps that load."""
    dataset = ConfigDict(copy.deepcopy(dict(dataset)))
    for _, config in walk(dataset):
        if loading_only and 'pipeline' in config:
            config.pipeline = [x for x in config.pipeline if x.get('type', '').startswith('Load')]
    return DATASETS.build(dataset)
