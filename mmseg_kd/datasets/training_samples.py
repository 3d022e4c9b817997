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
from mmseg.datasets import PackSegInputs
from mmseg.registry import DATA_SAMPLERS, DATASETS, MODELS
from torch import Tensor

from mmseg_kd.datasets.checked_files import guard
from mmseg_kd.datasets.listing import check_listing
from mmseg_kd.datasets.wrappers import walk
from mmseg_kd.errors import UserError

KEPT = 'as_loaded'


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
        config = ConfigDict(copy.deepcopy(dict(dataloader.dataset)))
        _keep_originals(config)
        check_listing(config, 'train_dataloader.dataset')
        self.dataset: BaseDataset = DATASETS.build(config)
        guard(self.dataset)
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
            yield self._sample(self.dataset[index])

    def _sample(self, item: dict) -> TrainingSample:
        sample = item['data_samples']
        image, labels = sample.metainfo[KEPT]
        inputs = item['inputs']
        if self.preprocessor is not None:
            batch = {'inputs': [inputs], 'data_samples': [sample]}
            batch = self.preprocessor(batch, training=True)
            inputs, (sample,) = batch['inputs'][0], batch['data_samples']
        return TrainingSample(
            path=sample.img_path,
            image=image[..., ::-1],
            labels=labels,
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


def _keep_originals(dataset: dict) -> None:
    """Insert a step after the loading steps of every pipeline, and switch caches off."""
    for _, config in walk(dataset):
        if 'cache_mib' in config:
            # Every image is read once.
            config['cache_mib'] = 0
        steps = config.get('pipeline')
        if steps is None:
            continue
        loaders = [step.get('type', '').startswith('Load') for step in steps]
        after = max((i for i, loads in enumerate(loaders, start=1) if loads), default=0)
        packs = [step for step in steps if step.get('type') == 'PackSegInputs']
        if not packs:
            raise UserError('train_dataloader.dataset.pipeline has no PackSegInputs to end it')
        meta = packs[-1].get('meta_keys') or PackSegInputs().meta_keys
        packs[-1]['meta_keys'] = (*meta, KEPT)
        steps.insert(after, _keep)


def _keep(results: dict) -> dict:
    results[KEPT] = results['img'].copy(), results['gt_seg_map'].copy()
    return results
