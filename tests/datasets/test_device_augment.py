"""The pixels of SegAugment for a batch of tensors are those of OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from conftest import ROOT
from mmengine.dataset import Compose, pseudo_collate
from mmseg.registry import DATASETS, MODELS

from mmseg_kd.datasets import SeededInfiniteSampler
from mmseg_kd.datasets.augment import SegAugment, apply
from mmseg_kd.datasets.device_augment import apply_batch
from mmseg_kd.datasets.seeded_sampling import seeded
from mmseg_kd.datasets.toy_camvid import _scene
from mmseg_kd.engine import load_config
from mmseg_kd.errors import UserError

# The widest vectors OpenCV uses hold this many pixels.
VECTOR = 64
# Levels by which its rounding of the last columns, and what follows, can differ.
ROUNDING = 6


def picture(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Smooth colours and their extremes."""
    image = rng.normal(128, 300, (*size, 3))
    return np.clip(cv2.GaussianBlur(image, (0, 0), 2), 0, 255).astype(np.uint8)


def compare(transform: SegAugment, sizes: list[tuple[int, int]], seed: int) -> list[np.ndarray]:
    """Augment images one by one in OpenCV and together as tensors; the differences by image."""
    rng = np.random.default_rng(seed)
    images = [picture(rng, size) for size in sizes]
    draws = []
    for i, size in enumerate(sizes):
        with seeded(1000 * seed + i):
            draws.append(transform.draw(rng.integers(0, 9, size, np.uint8))[0])
    batch = torch.zeros(len(sizes), 3, *np.max(sizes, axis=0), dtype=torch.uint8)
    for place, image in zip(batch, images, strict=True):
        place[:, : image.shape[0], : image.shape[1]] = torch.from_numpy(image).permute(2, 0, 1)
    result = apply_batch(batch, sizes, draws)
    assert result.dtype == torch.uint8
    differences = []
    for draw, image, pixels in zip(draws, images, result, strict=True):
        expected = apply(draw, image)
        height, width = draw.crop
        assert expected.shape == (height, width, 3)
        ours = pixels[:, :height, :width].permute(1, 2, 0).numpy()
        differences.append(np.abs(ours.astype(int) - expected))
    return differences


@pytest.mark.parametrize('flip', [0.0, 1.0])
def test_resize_crop_and_flip_bit_for_bit(flip: float) -> None:
    transform = SegAugment((96, 64), (0.5, 2.0), (64, 72), flip_prob=flip)
    # No hue is drawn: it would pass through HSV and back.
    transform._draw_colour = lambda: (None,) * 4
    for seed in range(40):
        sizes = [tuple(np.random.default_rng([seed, i]).integers(1, 140, 2)) for i in range(4)]
        assert all(not d.any() for d in compare(transform, sizes, seed))


def test_exact_halves_and_the_size_there_is() -> None:
    for ratio in (0.5, 1.0, 2.0):
        transform = SegAugment((96, 64), (ratio, ratio), (200, 200))
        transform._draw_colour = lambda: (None,) * 4
        (difference,) = compare(transform, [(64, 96)], 0)
        assert not difference.any()


@pytest.mark.parametrize('hue_delta', [18, 80])
def test_colours_but_for_what_opencv_rounds_at_the_end_of_a_row(hue_delta: int) -> None:
    transform = SegAugment((192, 128), (0.5, 2.0), (128, 192), 0.75, hue_delta=hue_delta)
    exact = False
    for seed in range(60):
        sizes = [(128, 192)] * 2 + [tuple(np.random.default_rng(seed).integers(40, 200, 2))]
        for difference in compare(transform, sizes, seed):
            whole = difference.shape[1] // VECTOR * VECTOR
            exact |= whole > 0
            assert not difference[:, :whole].any(), seed
            assert difference.max() <= ROUNDING, seed
    assert exact


def samples(on_device: bool, seed: int) -> dict[str, list]:
    """A batch of toy scenes, augmented or to be augmented."""
    pipeline = Compose(
        [
            dict(
                type='SegAugment', scale=(96, 64), ratio_range=(0.5, 2.0), crop_size=(64, 64),
                cat_max_ratio=0.75, on_device=on_device,
            ),
            dict(type='PackSegInputs', meta_keys=('img_path', 'ori_shape', 'draw')),
        ]
    )  # fmt: skip
    batch = []
    for i in range(3):
        image, labels = (array.copy() for array in _scene(0, 'train', i, 96, 64))
        results = dict(
            img=image, gt_seg_map=labels, seg_fields=['gt_seg_map'], img_path=f'{i}.png',
            ori_shape=labels.shape, reduce_zero_label=False,
        )  # fmt: skip
        with seeded(10 * seed + i):
            batch.append(pipeline(results))
    return pseudo_collate(batch)


def preprocessor(kind: str = 'BatchDataPreProcessor') -> torch.nn.Module:
    normalise = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True)
    return MODELS.build(dict(type=kind, size=(64, 64), **normalise))


def test_a_batch_is_the_same_wherever_it_is_augmented() -> None:
    deferred, stock = preprocessor(), preprocessor('SegDataPreProcessor')
    for seed in range(30):
        expected = stock(samples(False, seed), training=True)
        batch = samples(True, seed)
        for _ in range(2):
            # A batch can be used again.
            ours = deferred(batch, training=True)
            for a, b in zip(ours['data_samples'], expected['data_samples'], strict=True):
                assert torch.equal(a.gt_sem_seg.data, b.gt_sem_seg.data)
                assert {k: v for k, v in a.metainfo.items() if k != 'draw'} == b.metainfo
            difference = (ours['inputs'] - expected['inputs']).abs() * deferred.std
            assert difference.max() < ROUNDING + 0.01
            for i, sample in enumerate(ours['data_samples']):
                if sample.img_shape[1] == 64:
                    assert difference[i].max() < 1e-3, seed


def test_a_lost_draw_is_missed_where_the_labels_are_as_large_as_the_input() -> None:
    for seed in range(20):
        lost = samples(True, seed)
        for sample in lost['data_samples']:
            sample.pop('draw')
        with pytest.raises(UserError, match='after SegAugment'):
            preprocessor()(lost, training=True)


def test_who_cannot_augment_says_so() -> None:
    with pytest.raises(UserError, match='for training alone'):
        preprocessor()(samples(True, 0), training=False)
    mixed = samples(True, 0)
    for key, values in samples(False, 1).items():
        mixed[key] += values
    with pytest.raises(UserError, match='every pipeline whose samples share a batch'):
        preprocessor()(mixed, training=True)
    lost = samples(True, 0)
    for sample in lost['data_samples']:
        sample.pop('draw')
    with pytest.raises(UserError, match=r"meta_keys=\('img_path', 'draw'\)"):
        preprocessor()(lost, training=True)
    with pytest.raises(UserError, match='fused=True'):
        SegAugment((96, 64), (0.5, 2.0), (64, 64), fused=False, on_device=True)
    floats = dict(
        img=np.zeros((64, 96, 3), np.float32), gt_seg_map=np.zeros((64, 96), np.uint8),
        seg_fields=['gt_seg_map'],
    )  # fmt: skip
    with pytest.raises(UserError, match='not float32'):
        SegAugment((96, 64), (0.5, 2.0), (64, 64), on_device=True)(floats)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_a_gpu_makes_the_same_pixels() -> None:
    here, there = preprocessor(), preprocessor().cuda()
    for seed in range(10):
        expected = here(samples(True, seed), training=True)['inputs']
        pixels = there(samples(True, seed), training=True)['inputs']
        assert pixels.is_cuda
        assert torch.allclose(pixels.cpu(), expected, atol=1e-5)


@pytest.mark.real_data
def test_camvid(camvid_root) -> None:
    config = ROOT / 'local_configs/segformer/B0/segformer.b0.512x512.camvid.py'
    batches = []
    for on_device in (False, True):
        options = {'train_dataloader.dataset.pipeline.2.on_device': on_device}
        cfg = load_config(str(config), options)
        dataset = cfg.train_dataloader.dataset
        dataset.update(data_root=str(camvid_root), cache_mib=0)
        dataset = DATASETS.build(dataset)
        indices = zip(range(12), SeededInfiniteSampler(dataset, seed=3), strict=False)
        batch = pseudo_collate([dataset[index] for _, index in indices])
        batches.append(MODELS.build(cfg.model.data_preprocessor)(batch, training=True))
    host, device = batches
    for a, b in zip(host['data_samples'], device['data_samples'], strict=True):
        assert torch.equal(a.gt_sem_seg.data, b.gt_sem_seg.data)
    difference = (host['inputs'] - device['inputs']).abs() * 58
    assert difference.max() < ROUNDING + 0.01
    assert (difference > 0.01).float().mean() < 0.01
