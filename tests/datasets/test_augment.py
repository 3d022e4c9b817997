"""SegAugment gives mmseg's samples, bit for bit."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from mmengine.dataset import Compose
from mmseg.registry import MODELS

from mmseg_kd.datasets.seeded_sampling import seeded
from mmseg_kd.datasets.toy.scenes import draw_scene

SIZE = dict(scale=(96, 64), ratio_range=(0.5, 2.0))
CROP = dict(crop_size=(64, 72), cat_max_ratio=0.4)
PACK = dict(type='PackSegInputs')


def stock(scale=SIZE, crop=CROP, flip=0.5, keep_ratio=True, **colour):
    return Compose(
        [
            dict(type='RandomResize', keep_ratio=keep_ratio, **scale),
            dict(type='RandomCrop', **crop),
            dict(type='RandomFlip', prob=flip),
            dict(type='PhotoMetricDistortion', **colour),
            PACK,
        ]
    )


def ours(scale=SIZE, crop=CROP, flip=0.5, **others):
    return Compose([dict(type='SegAugment', flip_prob=flip, **scale, **crop, **others), PACK])


def sample(index: int, width: int = 96, height: int = 64) -> dict:
    image, labels = (array.copy() for array in draw_scene(0, 'train', index, width, height))
    return dict(
        img=image, gt_seg_map=labels, seg_fields=['gt_seg_map'], img_path=f'{index}.png',
        img_shape=labels.shape, ori_shape=labels.shape, reduce_zero_label=False,
    )  # fmt: skip


def augmented(pipeline, seed: int, results: dict):
    """Image, labels and meta data, and the draw that comes after theirs."""
    with seeded(seed):
        packed = pipeline(results)
        following = np.random.random_sample()  # noqa: NPY002
    data = packed['data_samples']
    return packed['inputs'], data.gt_sem_seg.data, data.metainfo, following


def same(first, second) -> bool:
    pixels = all(
        a.dtype == b.dtype and a.shape == b.shape and bool((a == b).all())
        for a, b in zip(first[:2], second[:2], strict=True)
    )
    return pixels and first[2:] == second[2:]


@pytest.mark.parametrize(
    'settings',
    [
        {},
        dict(keep_ratio=False),
        dict(flip=1.0),
        dict(flip=0.0),
        dict(crop=dict(crop_size=(64, 64))),
        dict(crop=dict(crop_size=(200, 200), cat_max_ratio=0.75)),
        dict(crop=dict(crop_size=(8, 8), cat_max_ratio=0.3)),
        dict(scale=dict(scale=(96, 64), ratio_range=(1.0, 1.0))),
        dict(brightness_delta=90, contrast_range=(0.1, 3.0), saturation_range=(0, 2), hue_delta=80),
    ],
    ids=str,
)
def test_equals_mmseg(settings):
    theirs, fused = stock(**settings), ours(**settings)
    for seed in range(60):
        expected = augmented(theirs, seed, sample(seed % 6))
        assert same(augmented(fused, seed, sample(seed % 6)), expected), seed


def test_equals_mmseg_on_small_and_void_images():
    theirs, fused = stock(), ours()
    for seed in range(150):
        rng = np.random.default_rng(seed)
        height, width = rng.integers(2, 60, 2)
        labels = rng.choice(np.array([0, 1, 2, 255], np.uint8), (height, width))
        if seed % 4 == 0:
            labels[:] = 255
        image = rng.integers(0, 256, (height, width, 3), np.uint8)
        change = dict(img=image, gt_seg_map=labels, ori_shape=labels.shape)
        expected = augmented(theirs, seed, sample(0) | change)
        assert same(augmented(fused, seed, sample(0) | change), expected), seed


@pytest.mark.parametrize(
    'change',
    [
        dict(img=np.full((64, 96, 3), 7.5, np.float32)),
        dict(gt_edge_map=np.eye(64, 96, dtype=np.uint8), seg_fields=['gt_seg_map', 'gt_edge_map']),
    ],
    ids=['float32', 'second map'],
)
def test_other_images_and_maps(change):
    theirs, fused = stock(), ours()
    for seed in range(20):
        expected = augmented(theirs, seed, sample(0) | change)
        assert same(augmented(fused, seed, sample(0) | change), expected)


def test_without_a_shift_of_the_hue_red_stays_red():
    fused, red = ours(hue_delta=0), np.full((64, 96, 3), (40, 40, 200), np.uint8)
    for seed in range(10):
        blue, green, _ = augmented(fused, seed, sample(0) | dict(img=red.copy()))[0]
        assert (blue == green).all(), seed


def test_source_is_left_alone():
    fused, results = ours(), sample(2)
    image, labels = results['img'], results['gt_seg_map']
    before = image.copy(), labels.copy()
    for seed in range(20):
        augmented(fused, seed, dict(results))
    assert np.array_equal(image, before[0]) and np.array_equal(labels, before[1])


def test_distribution_of_what_is_drawn():
    transform = ours(crop=dict(crop_size=(8, 8))).transforms[0]
    with seeded(0):
        found = [transform(sample(3)) for _ in range(1000)]
    ratios = np.array([results['scale'][0] / 96 for results in found])
    assert 0.49 <= ratios.min() < 0.52 and 1.98 < ratios.max() <= 2.0
    assert abs(ratios.mean() - 1.25) < 0.05
    assert abs(np.mean([results['flip'] for results in found]) - 0.5) < 0.05


def test_labels_are_nearest_and_no_class_is_invented():
    transform = ours(crop=dict(crop_size=(400, 400)), flip=0.0).transforms[0]
    labels = sample(4)['gt_seg_map']
    for seed in range(10):
        with seeded(seed):
            resized = transform(sample(4))['gt_seg_map']
        expected = cv2.resize(labels, resized.shape[::-1], interpolation=cv2.INTER_NEAREST)
        assert np.array_equal(resized, expected)
        assert set(np.unique(resized)) <= set(np.unique(labels))


def test_cat_max_ratio_draws_again():
    labels = np.zeros((64, 96), np.uint8)
    labels[:, 60:] = 1
    exact = dict(scale=(96, 64), ratio_range=(1.0, 1.0))

    def shares(cat_max_ratio):
        crop = dict(crop_size=(32, 32), cat_max_ratio=cat_max_ratio)
        transform = ours(scale=exact, crop=crop).transforms[0]
        with seeded(0):
            crops = [
                transform(sample(0) | dict(gt_seg_map=labels))['gt_seg_map'] for _ in range(300)
            ]
        return np.array([np.bincount(c.ravel()).max() / c.size for c in crops])

    assert (shares(1.0) > 0.75).mean() > 0.5
    # One crop in four is accepted, and the first draw is followed by at most ten.
    assert (shares(0.75) > 0.75).mean() < 0.1


def test_border_of_a_small_image_is_ignored():
    exact = dict(scale=(96, 64), ratio_range=(0.5, 0.5))
    packed = ours(scale=exact, crop=dict(crop_size=(64, 64)))(sample(0))
    assert packed['inputs'].shape == (3, 32, 48)
    preprocessor = MODELS.build(dict(type='SegDataPreProcessor', size=(64, 64), pad_val=0))
    batch = {key: [value] for key, value in packed.items()}
    batch = preprocessor(batch, training=True)
    labels = batch['data_samples'][0].gt_sem_seg.data
    assert labels.shape == (1, 64, 64)
    assert (labels[0, 32:] == 255).all() and (labels[0, :, 48:] == 255).all()
    assert (labels[0, :32, :48] != 255).all()
    assert (batch['inputs'][0, :, 32:] == 0).all()


def test_packed_without_a_copy():
    results = ours().transforms[0](sample(0))
    assert results['img'].transpose(2, 0, 1).flags.c_contiguous
    inputs = Compose([PACK])(results)['inputs']
    assert inputs.data_ptr() == results['img'].__array_interface__['data'][0]
