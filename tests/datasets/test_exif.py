"""Photos with an EXIF orientation, and their masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mmseg.registry import DATASETS
from own_data import HEIGHT, LOAD, WIDTH, mask, own_data, read, save_mask
from PIL import Image

from mmseg_kd.errors import UserError

ORIENTATION = 0x0112


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return own_data(tmp_path)


@pytest.mark.parametrize('value', range(1, 9))
def test_exif_turns_image_and_mask_alike(root: Path, value: int) -> None:
    # Both files as a camera stores them, with the same tag; the mask marks the dark corner.
    exif = Image.Exif()
    exif[ORIENTATION] = value
    labels = mask()
    photo = np.repeat(np.where(labels == 1, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    Image.fromarray(photo).save(root / 'images' / '0.jpg', exif=exif, quality=100)
    Image.fromarray(labels).save(root / 'labels' / '0.png', exif=exif)
    sample = read(root)[0]
    assert sample['img'].shape[:2] == ((HEIGHT, WIDTH) if value < 5 else (WIDTH, HEIGHT))
    assert np.array_equal(sample['gt_seg_map'], sample['img'][..., 0] < 128)


def test_exif_of_the_photo_alone(root: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    photo = root / 'images' / '0.jpg'
    Image.open(photo).save(photo, exif=exif)
    # The mask of the photo as viewers show it.
    save_mask(root, 0, mask((WIDTH, HEIGHT)))
    sample = read(root)[0]
    assert sample['img'].shape[:2] == sample['gt_seg_map'].shape == (WIDTH, HEIGHT)
    # The mask of the photo as it is stored, and what the message advises.
    save_mask(root, 0, mask())
    with pytest.raises(UserError, match='color_ignore_orientation'):
        read(root)
    as_stored = dict(type='LoadImageFromFile', color_type='color_ignore_orientation')
    sample = read(root, pipeline=[as_stored, LOAD[1]])[0]
    assert sample['img'].shape[:2] == sample['gt_seg_map'].shape == (HEIGHT, WIDTH)


def test_the_image_cache_keeps_turned_photos(tmp_path: Path) -> None:
    for folder in ('train', 'trainannot'):
        (tmp_path / folder).mkdir()
    exif = Image.Exif()
    exif[ORIENTATION] = 3
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / 'train' / 'a.png', exif=exif)
    Image.fromarray(mask()).save(tmp_path / 'trainannot' / 'a.png')
    dataset = DATASETS.build(
        dict(type='CamVidDataset', data_root=str(tmp_path), cache_mib=1, pipeline=LOAD)
    )
    first, second = dataset[0], dataset[0]
    assert dataset.cache.kept.all()
    # Upside down, and in OpenCV's order of the channels.
    for sample in (first, second):
        assert np.array_equal(sample['img'], noise[::-1, ::-1, ::-1])
    exif[ORIENTATION] = 6
    Image.fromarray(noise).save(tmp_path / 'train' / 'a.png', exif=exif)
    dataset = DATASETS.build(
        dict(type='CamVidDataset', data_root=str(tmp_path), cache_mib=1, pipeline=LOAD)
    )
    with pytest.raises(UserError, match=r'a\.png: the mask is 30x20, but its image .* is 20x30'):
        dataset[0]
