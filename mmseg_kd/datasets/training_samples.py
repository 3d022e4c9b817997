"""Show images and labels as loaded and as training sees them."""

import copy
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
from mmseg.registry import DATA_SAMPLERS, DATASETS, MODELS

from mmseg_kd.datasets.listing import check_listing
from mmseg_kd.datasets.seeded_sampling import SeededSamples
from mmseg_kd.errors import UserError
from mmseg_kd.nested import walk

# Arguments of a preprocessor that change the colours; without them images are BGR, 0 to 255.
NORMALISATION = ('mean', 'std', 'bgr_to_rgb', 'rgb_to_bgr')


class TrainingSample(NamedTuple):
    """An image and its labels before and after augmentation.

    Attributes:
        path: The image's file.
        image: As loaded, RGB (H, W, 3).
        labels: Class ids (H, W).
        seen: The network's input without its normalisation, padded with black, RGB (H', W', 3).
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

    def __init__(self, dataloader: dict, preprocessor: dict | None, seed: int | None) -> None:
        check_listing(dataloader.dataset, 'train_dataloader.dataset')
        loading = copy.deepcopy(dataloader.dataset)
        for _, dataset in walk(loading):
            if steps := dataset.get('pipeline'):
                dataset['pipeline'] = [x for x in steps if x.get('type', '').startswith('Load')]
        self.dataset = SeededSamples(copy.deepcopy(dataloader.dataset))
        self.originals = DATASETS.build(loading)
        arguments = dict(dataset=self.dataset, seed=seed)
        self.sampler = DATA_SAMPLERS.build(dataloader.sampler, default_args=arguments)
        settings = {k: v for k, v in (preprocessor or {}).items() if k not in NORMALISATION}
        self.preprocessor = MODELS.build(settings) if settings else None

    def first(self, count: int) -> Iterator[TrainingSample]:
        """Yield the first samples of the training."""
        for index in islice(self.sampler, count):
            item, original = self.dataset[index], self.originals[index]
            if 'data_samples' not in item:
                raise UserError('train_dataloader.dataset.pipeline has no PackSegInputs; add it')
            inputs, sample = item['inputs'], item['data_samples']
            if self.preprocessor is not None:
                batch = {'inputs': [inputs], 'data_samples': [sample]}
                batch = self.preprocessor(batch, training=True)
                (inputs,), (sample,) = batch['inputs'], batch['data_samples']
            yield TrainingSample(
                path=original['img_path'],
                image=original['img'][..., ::-1],
                labels=original['gt_seg_map'],
                seen=inputs.flip(0).byte().permute(1, 2, 0).numpy(),
                seen_labels=sample.gt_sem_seg.data[0].numpy(),
            )
