"""Images kept in shared memory: the same samples, decoded once."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import mmcv
import numpy as np
import psutil
import pytest
import torch
from mmseg.registry import DATASETS
from PIL import Image
from torch.utils.data import DataLoader

from mmseg_kd.datasets import SeededInfiniteSampler, SeededSamples, image_cache
from mmseg_kd.datasets.camvid.classes import CLASSES
from mmseg_kd.errors import UserError

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
TRAIN = [
    *LOAD,
    dict(
        type='SegAugment',
        scale=(48, 36),
        ratio_range=(0.5, 2.0),
        crop_size=(24, 24),
        cat_max_ratio=0.75,
    ),
    dict(type='PackSegInputs'),
]
COUNT = 4


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ('train', 'trainannot'):
        (tmp_path / folder).mkdir()
    for k in range(COUNT):
        write(tmp_path, k)
    return tmp_path


def write(root: Path, k: int, size: tuple[int, int] = (36, 48)) -> None:
    rng = np.random.default_rng(k)
    image, mask = rng.integers(0, 256, (*size, 3), np.uint8), rng.integers(0, 12, size, np.uint8)
    Image.fromarray(image).save(root / 'train' / f'f{k}.png')
    Image.fromarray(mask).save(root / 'trainannot' / f'f{k}.png')


def build(root, **kwargs):
    settings = dict(cache_mib=1, pipeline=LOAD) | kwargs
    return DATASETS.build(dict(type='CamVidDataset', data_root=str(root), **settings))


def kept(dataset) -> int:
    return int(dataset.cache.kept.sum())


def forget_files(root) -> None:
    for path in root.rglob('*.png'):
        path.write_text('gone')


def equal(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(
        np.array_equal(value, second[key]) for key, value in first.items()
    )


def test_second_load_reads_no_file(root):
    dataset, plain = build(root), build(root, cache_mib=0)
    expected = [plain[index] for index in range(COUNT)]
    assert plain.cache is None
    first = [dataset[index] for index in range(COUNT)]
    assert kept(dataset) == COUNT
    forget_files(root)
    second = [dataset[index] for index in range(COUNT)]
    for samples in (first, second):
        assert all(equal(a, b) for a, b in zip(samples, expected, strict=True))


@pytest.mark.parametrize('reduce_zero_label', [False, True])
def test_labels_as_the_loaders_give_them(root, reduce_zero_label):
    settings = dict(metainfo=dict(classes=CLASSES[:11]), reduce_zero_label=reduce_zero_label)
    expected = build(root, cache_mib=0, **settings)[1]['gt_seg_map']
    dataset = build(root, **settings)
    assert (expected == 255).any()
    for _ in range(3):
        assert np.array_equal(dataset[1]['gt_seg_map'], expected)


def test_changes_in_place_do_not_reach_it(root):
    dataset = build(root)
    expected = build(root, cache_mib=0)[0]
    for _ in range(3):
        sample = dataset[0]
        assert equal(sample, expected)
        sample['img'][:] = 0
        sample['gt_seg_map'][:] = 0
        sample['seg_fields'].append('more')


def stream(dataset, **loader):
    sampler = SeededInfiniteSampler(dataset, seed=1)
    batches = DataLoader(SeededSamples(dataset), 2, sampler=sampler, collate_fn=list, **loader)
    return [sample['inputs'].numpy() for batch in islice(batches, 10) for sample in batch]


@pytest.mark.slow
@pytest.mark.parametrize('workers,context', [(0, None), (2, 'fork'), (2, 'spawn')])
def test_workers_share_it_and_samples_stay_the_same(root, workers, context):
    if context and context not in torch.multiprocessing.get_all_start_methods():
        pytest.skip(f'no {context} here')
    expected = stream(build(root, cache_mib=0, pipeline=TRAIN))
    dataset = build(root, pipeline=TRAIN)
    loader = dict(num_workers=workers, multiprocessing_context=context)
    streams = [stream(dataset, **loader)]
    # The images that the workers decoded are here, and in workers that start now.
    assert kept(dataset) == COUNT
    forget_files(root)
    streams += [stream(dataset, **loader), stream(dataset)]
    for found in streams:
        assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_images_of_another_size_are_read_each_time(root):
    write(root, 1, (20, 30))
    write(root, 2, (50, 10))
    dataset, plain = build(root), build(root, cache_mib=0)
    expected = [plain[index] for index in range(COUNT)]
    for _ in range(2):
        assert all(equal(dataset[index], expected[index]) for index in range(COUNT))
    assert kept(dataset) == COUNT - 2


def test_an_image_may_have_two_masks(root):
    names = ['train/f0.png trainannot/f0.png', 'train/f0.png trainannot/f1.png']
    (root / 'list.txt').write_text('\n'.join(names))
    settings = dict(ann_file='list.txt')
    dataset, plain = build(root, **settings), build(root, cache_mib=0, **settings)
    for _ in range(2):
        for index in range(2):
            assert equal(dataset[index], plain[index])
    assert kept(dataset) == 2


def test_a_subset_keeps_its_own_images(root):
    dataset = build(root)
    for index in range(COUNT):
        dataset[index]
    subset = dataset.get_subset([2, 3])
    assert equal(subset[0], build(root, cache_mib=0, indices=[2, 3])[0])


@pytest.fixture
def log(monkeypatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(image_cache, 'print_log', lambda text, **_: lines.append(text))
    return lines


def test_limit(root, log):
    # 4 x 48 x 36 x 4 bytes
    dataset = build(root, cache_mib=0.02)
    assert dataset.cache is None and len(log) == 1
    assert '4 decoded images takes 0 MiB, but cache_mib is 0.02' in log[0]
    assert dataset[0]['img'].shape == (36, 48, 3)
    assert build(root, cache_mib=0.03).cache and len(log) == 1


def test_half_of_the_free_memory(root, log, monkeypatch):
    monkeypatch.setattr(image_cache, '_free_memory', lambda: 50_000)
    assert build(root).cache is None
    assert len(log) == 1 and 'shared memory are free' in log[0]
    monkeypatch.setattr(image_cache, '_free_memory', lambda: 60_000)
    assert build(root).cache and len(log) == 1


def test_no_shared_memory(root, log, monkeypatch):
    def refuse(paths, shape):
        raise RuntimeError('No space left on device')

    monkeypatch.setattr(image_cache, 'ImageCache', refuse)
    assert build(root)[0]['img'].shape == (36, 48, 3)
    assert 'the system refuses it (No space left on device)' in log[0]


def test_free_memory_is_a_number_of_bytes():
    assert image_cache._free_memory() > 1 << 20


def test_limit_is_a_number(root):
    for wrong in ('much', -1):
        with pytest.raises(UserError, match=r'dataset.cache_mib: .* is not a number of MiB'):
            build(root, cache_mib=wrong)


@pytest.mark.parametrize(
    'pipeline',
    [
        [dict(type='LoadImageFromFile')],
        [dict(type='LoadAnnotations'), dict(type='LoadImageFromFile')],
        [dict(type='LoadImageFromFile', to_float32=True), LOAD[1]],
        [dict(type='LoadImageFromFile', color_type='grayscale'), LOAD[1]],
    ],
    ids=['image alone', 'other order', 'float32', 'grey'],
)
def test_other_loading_is_left_to_the_pipeline(root, pipeline):
    dataset, plain = build(root, pipeline=pipeline), build(root, cache_mib=0, pipeline=pipeline)
    for _ in range(2):
        assert equal(dataset[1], plain[1])
    assert dataset.cache is None or not kept(dataset)


def test_damaged_file_is_reported_each_time_and_not_kept(root):
    path = root / 'train' / 'f1.png'
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    dataset = build(root)
    dataset[0]
    for _ in range(2):
        with pytest.raises(UserError, match=r'f1\.png: is not an image or not a whole one'):
            dataset[1]
    assert kept(dataset) == 1
    path.write_bytes(whole)
    assert equal(dataset[1], build(root, cache_mib=0)[1]) and kept(dataset) == 2


def test_text_in_place_of_an_image(root):
    (root / 'train' / 'f1.png').write_text('not a picture')
    dataset = build(root)
    with pytest.raises(UserError, match=r'f1\.png: is not an image or not a whole one'):
        dataset[1]
    assert dataset[2]['img'].shape == (36, 48, 3)


def test_decodes_once(root, monkeypatch):
    decoded = []
    decode = mmcv.imfrombytes
    monkeypatch.setattr(mmcv, 'imfrombytes', lambda *a, **k: decoded.append(1) or decode(*a, **k))
    dataset = build(root)
    for _ in range(3):
        for index in range(COUNT):
            dataset[index]
    assert len(decoded) == 2 * COUNT


@pytest.mark.real_data
def test_real_split_is_of_the_documented_size(camvid_root):
    dataset = build(camvid_root, cache_mib=1024)
    cache = dataset.cache
    assert cache.images.numel() + cache.labels.numel() == 367 * 360 * 480 * 4


def test_free_memory_is_known_without_a_mount_for_it(monkeypatch):
    monkeypatch.setattr(Path, 'is_dir', lambda self: False)
    assert 0 < image_cache._free_memory() <= psutil.virtual_memory().total
