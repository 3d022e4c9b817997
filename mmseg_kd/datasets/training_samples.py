"""What training sees of a data set, beside what the files hold."""

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
from torch import Tensor, nn

from mmseg_kd.datasets.checked_files import check_listing, guard
from mmseg_kd.errors import UserError

KEPT = 'as_loaded'


@dataclass(frozen=True)
class TrainingSample:
    """An image and its labels before and after augmentation.

    Attributes:
        path: The image's file.
        image: As loaded, RGB (H, W, 3).
        labels: Class ids (H, W).
        seen: The network's input, its normalisation undone, RGB (H', W', 3).
        seen_labels: Class ids (H', W'), 255 where nothing is learned.
    """

    path: str
    image: np.ndarray
    labels: np.ndarray
    seen: np.ndarray
    seen_labels: np.ndarray


class TrainingSamples:
    """The samples of a training, in its order and with its augmentation.

    With `SeededInfiniteSampler` they are those of the run with that seed, one by one.

    Args:
        dataloader: The config's `train_dataloader`.
        preprocessor: The config's `model.data_preprocessor`; it pads as in training.
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
        self.preprocessor = MODELS.build(preprocessor) if preprocessor else None

    def __len__(self) -> int:
        """Images of the data set."""
        return len(self.dataset)

    def first(self, count: int) -> Iterator[TrainingSample]:
        """The first samples of the training."""
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
            seen=_as_picture(inputs, self.preprocessor),
            seen_labels=sample.gt_sem_seg.data[0].numpy(),
        )


def _as_picture(inputs: Tensor, preprocessor: nn.Module | None) -> np.ndarray:
    """Undo normalisation and channel order of an input (3, H, W): RGB (H, W, 3), 0 to 255."""
    if getattr(preprocessor, '_enable_normalize', False):
        inputs = inputs * preprocessor.std + preprocessor.mean
    if not getattr(preprocessor, '_channel_conversion', False):
        # As loaded: mmcv reads BGR.
        inputs = inputs.flip(0)
    return inputs.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()


def _keep_originals(config: dict) -> None:
    """Insert a step behind the loading ones of every pipeline; wrapped data sets have theirs."""
    nested = config.get('datasets') or [config.get('dataset')]
    for inner in filter(None, nested):
        _keep_originals(inner)
    if 'pipeline' in config:
        steps = config['pipeline']
        loaders = [step.get('type', '').startswith('Load') for step in steps]
        after = max((i for i, loads in enumerate(loaders, start=1) if loads), default=0)
        packs = [step for step in steps if step.get('type') == 'PackSegInputs']
        if not packs:
            raise UserError('train_dataloader.dataset.pipeline has no PackSegInputs to end it')
        meta = packs[-1].get('meta_keys') or PackSegInputs().meta_keys
        packs[-1]['meta_keys'] = (*meta, KEPT)
        steps.insert(after, _keep)
    if 'cache_mib' in config:
        # Every image is read once.
        config['cache_mib'] = 0


def _keep(results: dict) -> dict:
    results[KEPT] = results['img'].copy(), results['gt_seg_map'].copy()
    return results
