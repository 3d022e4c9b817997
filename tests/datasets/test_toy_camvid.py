"""Drawn scenes: deterministic, varied, shaped like CamVid."""

from __future__ import annotations

import time
import zlib

import numpy as np
import pytest
from mmseg.registry import DATASETS

from mmseg_kd.datasets import ToyCamVidDataset
from mmseg_kd.datasets.camvid.classes import CLASSES
from mmseg_kd.datasets.toy.scenes import draw_scene
from mmseg_kd.errors import UserError

LOAD = [dict(type='LoadToyScene')]
# Labels and mean brightness of the first training scene, with OpenCV 4 and 5.
GOLDEN = 935500283, 74.3


def build(**kwargs):
    return DATASETS.build(dict(type='ToyCamVidDataset', **{'pipeline': LOAD, **kwargs}))


@pytest.fixture(scope='module')
def labels():
    return {
        split: np.stack([draw_scene(0, split, index, 160, 120)[1] for index in range(48)])
        for split in ('train', 'val', 'test')
    }


def test_sample():
    sample = build(split='val', num_images=8)[7]
    assert sample['img'].shape == (120, 160, 3) and sample['img'].dtype == np.uint8
    assert sample['gt_seg_map'].shape == sample['img_shape'] == sample['ori_shape'] == (120, 160)
    assert sample['img_path'] == 'toy/val/0007.png' and sample['seg_fields'] == ['gt_seg_map']


def test_all_classes_in_every_split(labels):
    for split in labels.values():
        present = [(split == index).any((1, 2)).mean() for index in range(12)]
        assert min(present) > 0.4 and np.median(present) > 0.9


def test_frequencies_are_like_camvid(labels):
    share = np.bincount(np.concatenate(list(labels.values())).ravel(), minlength=12)
    share = dict(zip(CLASSES, 100 * share / share.sum(), strict=True))
    for name, low, high in (
        ('Sky', 9, 22), ('Building', 18, 32), ('Road', 24, 38), ('Tree', 6, 15),
        ('Pavement', 3, 8), ('Car', 3, 9), ('Unlabelled', 2, 7), ('SignSymbol', 0.5, 2),
        ('Fence', 0.6, 2.5), ('Pole', 0.5, 2), ('Pedestrian', 0.3, 2), ('Bicyclist', 0.2, 2),
    ):  # fmt: skip
        assert low < share[name] < high, (name, share[name])


def test_scenes_are_fixed_and_differ():
    first = draw_scene.__wrapped__(0, 'train', 3, 160, 120)
    again = draw_scene.__wrapped__(0, 'train', 3, 160, 120)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    others = [(1, 'train', 3), (0, 'val', 3), (0, 'train', 4)]
    assert all(not np.array_equal(draw_scene(*key, 160, 120)[1], first[1]) for key in others)


def test_scene_is_the_same_on_every_platform():
    image, labels = draw_scene(0, 'train', 0, 160, 120)
    assert (zlib.crc32(labels.tobytes()), round(float(image.mean()), 1)) == GOLDEN


def test_cached_scene_is_not_changed_by_a_pipeline():
    dataset = build(num_images=1)
    before = draw_scene.__wrapped__(0, 'train', 0, 160, 120)
    sample = dataset[0]
    sample['img'][:] = 0
    sample['gt_seg_map'][:] = 0
    for cached, drawn in zip(draw_scene(0, 'train', 0, 160, 120), before, strict=True):
        assert np.array_equal(cached, drawn)


def test_full_pipeline():
    dataset = build(
        num_images=4, size=[96, 64],
        pipeline=[
            *LOAD,
            dict(type='RandomResize', scale=(96, 64), ratio_range=(0.5, 2.0), keep_ratio=True),
            dict(type='RandomCrop', crop_size=(48, 48), cat_max_ratio=0.75),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PhotoMetricDistortion'),
            dict(type='PackSegInputs'),
        ],
    )  # fmt: skip
    sample = dataset[3]
    assert sample['inputs'].shape[0] == 3
    assert sample['data_samples'].img_path == 'toy/train/0003.png'
    assert sample['data_samples'].gt_sem_seg.data.max() <= 11


def test_eleven_classes_and_zero_label():
    plain = build(num_images=1)[0]['gt_seg_map']
    eleven = build(num_images=1, metainfo=dict(classes=CLASSES[:11]))[0]['gt_seg_map']
    assert np.array_equal(eleven, np.where(plain == 11, 255, plain)) and (plain == 11).any()
    reduced = build(num_images=1, reduce_zero_label=True)[0]['gt_seg_map']
    assert np.array_equal(reduced, np.where(plain == 0, 255, plain.astype(int) - 1))


@pytest.mark.parametrize(
    'key,value', [('split', 'training'), ('size', (16, 120)), ('size', (160,)), ('num_images', 0)]
)
def test_bad_keys(key, value):
    with pytest.raises(UserError, match=f'dataset.{key}: '):
        ToyCamVidDataset(**{key: value})


@pytest.mark.parametrize('size', [(32, 32), (64, 48), (512, 512)])
def test_other_sizes(size):
    image, labels = draw_scene(0, 'train', 0, *size)
    assert image.shape == (size[1], size[0], 3) and labels.max() <= 11


def test_drawing_is_quick():
    start = time.process_time()
    for index in range(20):
        draw_scene.__wrapped__(0, 'test', index, 160, 120)
    # about 10 ms each; the bound allows for a busy machine
    assert (time.process_time() - start) / 20 < 0.04
