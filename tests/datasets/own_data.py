"""Own images and masks, and mmseg's data set of them as a runner builds it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mmengine.dataset import BaseDataset
from PIL import Image

from mmseg_kd.engine import KDRunner

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
HEIGHT, WIDTH = 20, 30


def own_data(root: Path) -> Path:
    """Four photos of 30x20 with masks of the ids 0 and 1."""
    for folder in ('images', 'labels'):
        (root / folder).mkdir()
    for i in range(4):
        noise = np.random.default_rng(i).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        Image.fromarray(noise).save(root / 'images' / f'{i}.jpg')
        save_mask(root, i, mask())
    return root


def mask(size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    labels = np.zeros(size, np.uint8)
    labels[: size[0] // 2, : size[1] // 4] = 1
    return labels


def save_mask(root: Path, i: int, labels: np.ndarray, mode: str | None = None) -> None:
    picture = Image.fromarray(labels)
    (picture if mode is None else picture.convert(mode)).save(root / 'labels' / f'{i}.png')


def build(root: Path, pipeline: list | None = None, **settings: object) -> BaseDataset:
    dataset = dict(
        type='BaseSegDataset',
        data_root=str(root),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        metainfo=dict(classes=('road', 'car')),
        pipeline=LOAD if pipeline is None else pipeline,
    )
    sampler = dict(type='DefaultSampler', shuffle=False)
    loader = dict(batch_size=1, num_workers=0, sampler=sampler, dataset=dataset | settings)
    return KDRunner.build_dataloader(loader).dataset


def read(root: Path, **settings: object) -> list[dict]:
    dataset = build(root, **settings)
    return [dataset[i] for i in range(len(dataset))]
