"""Photos with an EXIF orientation, and their masks."""

from __future__ import annotations

from pathlib import Path

import pytest
from own_data import HEIGHT, LOAD, WIDTH, mask, own_data, read, save_mask
from PIL import Image

from mmseg_kd.errors import UserError

ORIENTATION = 0x0112


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return own_data(tmp_path)


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
