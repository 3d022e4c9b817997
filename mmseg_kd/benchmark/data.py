"""The training pipeline of a config beside the same pipeline in mmseg's own parts."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from itertools import islice

import cv2
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch.utils.data import Sampler

from mmseg_kd.datasets.camvid.classes import CamVidClasses

SEED = 0


def data_runs(cfg: Config, workers: int = 1, samples: int = 16) -> dict[str, Callable[[], None]]:
    """What draws the next samples of a config's training stream, for an interleaving harness.

    Every image has been loaded once before, so that a cache is full. Between two calls the
    workers are idle: nothing is prepared in another candidate's time.

    Args:
        cfg: A config with a ``train_dataloader``.
        workers: Worker processes; 0 prepares the samples in this one.
        samples: How many a call draws; a multiple of the batch size.

    Returns:
        A callable for ``stock`` and one for ``mmseg_kd``.
    """
    ours = cfg.train_dataloader
    # As a runner sets it before it starts its workers.
    cv2.setNumThreads(cfg.get('env_cfg', {}).get('mp_cfg', {}).get('opencv_num_threads', 0))
    return {
        'stock': _run(stock_dataloader(ours), workers, samples),
        'mmseg_kd': _run(ours, workers, samples),
    }


def stock_dataloader(dataloader: dict) -> dict:
    """The data loader as it is written in mmseg."""
    stock = copy.deepcopy(dict(dataloader))
    stock.pop('collate_fn', None)
    stock['sampler'] = dict(type='InfiniteSampler', shuffle=True)
    dataset = stock['dataset']
    dataset.pop('cache_mib', None)
    dataset['pipeline'] = [step for entry in dataset['pipeline'] for step in _stock_steps(entry)]
    if dataset['type'] == 'CamVidDataset':
        split = dataset.pop('split', 'train')
        dataset['type'] = 'BaseSegDataset'
        dataset['metainfo'] = CamVidClasses.METAINFO | dataset.get('metainfo', {})
        dataset['data_prefix'] = dict(img_path=split, seg_map_path=f'{split}annot')
        dataset.update(img_suffix='.png', seg_map_suffix='.png')
    return stock


def _stock_steps(step: dict) -> list[dict]:
    if step['type'] != 'SegAugment':
        return [step]
    crop = {key: step[key] for key in ('crop_size', 'cat_max_ratio') if key in step}
    colours = ('brightness_delta', 'contrast_range', 'saturation_range', 'hue_delta')
    return [
        dict(
            type='RandomResize',
            scale=step['scale'],
            ratio_range=step['ratio_range'],
            keep_ratio=step.get('keep_ratio', True),
        ),
        dict(type='RandomCrop', **crop),
        dict(type='RandomFlip', prob=step.get('flip_prob', 0.5)),
        dict(type='PhotoMetricDistortion', **{key: step[key] for key in colours if key in step}),
    ]


def _run(dataloader: dict, workers: int, samples: int) -> Callable[[], None]:
    dataloader = copy.deepcopy(dict(dataloader))
    dataloader.update(num_workers=workers, persistent_workers=workers > 0)
    with DefaultScope.overwrite_default_scope('mmseg'):
        loader = Runner.build_dataloader(dataloader, seed=SEED)
    for index in range(len(loader.dataset)):
        loader.dataset[index]
    loader.batch_sampler.sampler = _Turns(loader.sampler, samples)

    def draw() -> None:
        for _ in loader:
            pass

    return draw


class _Turns:
    """A few indices of an endless stream each time it is iterated."""

    def __init__(self, stream: Sampler, turn: int) -> None:
        self.stream, self.turn = iter(stream), turn

    def __iter__(self) -> Iterator[int]:
        return islice(self.stream, self.turn)

    def __len__(self) -> int:
        return self.turn
