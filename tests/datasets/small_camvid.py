"""A small CamVid, and its data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mmengine.dataset import BaseDataset
from mmseg.registry import DATASETS
from PIL import Image

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
TRAIN = [
    *LOAD,
    dict(type='RandomResize', scale=(48, 36), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(24, 24), cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]


def small_camvid(root: Path) -> Path:
    """Three train, two val and one test frame; the mask of frame k holds k and 11."""
    for split, count in dict(train=3, val=2, test=1).items():
        (root / split).mkdir()
        (root / f'{split}annot').mkdir()
        lines = []
        for k in range(count):
            mask = np.full((36, 48), k, np.uint8)
            mask[:4] = 11
            noise = np.random.default_rng(k).integers(0, 256, (36, 48, 3), np.uint8)
            Image.fromarray(noise).save(root / split / f'f{k}.png')
            Image.fromarray(mask).save(root / f'{split}annot' / f'f{k}.png')
            lines.append(f'/SegNet/CamVid/{split}/f{k}.png /SegNet/CamVid/{split}annot/f{k}.png')
        (root / f'{split}.txt').write_text('\n'.join(lines))
    return root


def build(root: Path, **kwargs: object) -> BaseDataset:
    """Build the data set; its pipeline loads image and mask."""
    return DATASETS.build(
        dict(type='CamVidDataset', data_root=str(root), **{'pipeline': LOAD, **kwargs})
    )
