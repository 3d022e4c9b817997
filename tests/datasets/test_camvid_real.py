"""The published CamVid: its splits, class frequencies and names."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from small_camvid import build

from mmseg_kd.datasets.camvid.classes import CLASSES
from mmseg_kd.datasets.camvid.layouts import convert, segnet_split


@pytest.mark.real_data
def test_real_counts(camvid_root):
    counts = [
        len(build(camvid_root, split=split)) for split in ('train', 'val', 'test', 'trainval')
    ]
    assert counts == [367, 101, 233, 468]


def frequencies(root, split):
    pixels = np.zeros(12)
    dataset = build(root, split=split)
    for index in range(len(dataset)):
        with Image.open(dataset.get_data_info(index)['seg_map_path']) as mask:
            pixels += np.bincount(np.asarray(mask).ravel(), minlength=12)
    return np.round(100 * pixels / pixels.sum(), 3).tolist()


@pytest.mark.real_data
def test_real_val_frequencies(camvid_root, tmp_path):
    expected = [
        9.177, 25.962, 0.564, 28.953, 8.719, 16.336, 0.892, 3.078, 1.746, 0.651, 2.217, 1.703
    ]  # fmt: skip
    assert frequencies(camvid_root, 'val') == expected
    summary = convert(camvid_root, tmp_path / 'copy')
    assert summary.images == dict(train=367, val=101, test=233)
    assert frequencies(tmp_path / 'copy', 'train') == [
        16.845, 23.259, 0.983, 31.658, 4.486, 9.724, 1.173, 1.127, 5.866, 0.639, 0.292, 3.948
    ]  # fmt: skip


@pytest.mark.real_data
def test_real_eleven_classes(camvid_root):
    twelve = build(camvid_root, split='val')[0]
    eleven = build(camvid_root, split='val', metainfo=dict(classes=CLASSES[:11]))[0]
    assert twelve['img'].shape == (360, 480, 3)
    void = twelve['gt_seg_map'] == 11
    assert void.any() and np.array_equal(eleven['gt_seg_map'] == 255, void)
    assert np.array_equal(eleven['gt_seg_map'][~void], twelve['gt_seg_map'][~void])


@pytest.mark.real_data
def test_real_names_follow_the_split_rule(camvid_root):
    for split in ('train', 'val', 'test'):
        names = [path.stem for path in (camvid_root / split).glob('*.png')]
        assert {segnet_split(name) for name in names} == {split}
