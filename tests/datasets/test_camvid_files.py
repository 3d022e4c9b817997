"""Damaged and unfit files of CamVid are reported in one line."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_camvid import TRAIN, build, small_camvid
from torch.utils.data import DataLoader, Subset

from mmseg_kd.errors import UserError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return small_camvid(tmp_path)


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='no pipes in folders')
def test_a_pipe_among_the_images(root):
    (root / 'train.txt').unlink()
    (root / 'train' / 'f1.png').unlink()
    os.mkfifo(root / 'train' / 'f1.png')
    with pytest.raises(UserError, match=r'f1\.png: is not a file; remove it'):
        build(root, cache_mib=1)


@pytest.mark.parametrize('folder', ['train', 'trainannot'])
def test_a_header_of_a_size_that_nothing_can_read(root, folder):
    path = root / folder / 'f1.png'
    data = path.read_bytes()
    chunk = b'IHDR' + struct.pack('>II', 60000, 60000) + data[24:29]
    path.write_bytes(data[:12] + chunk + struct.pack('>I', zlib.crc32(chunk)) + data[33:])
    dataset = build(root, cache_mib=1)
    with pytest.raises(UserError, match=rf'\b{folder}.f1\.png: .* exceeds limit of 1073741824 pix'):
        dataset[1]


def replace_mask(root, array):
    Image.fromarray(array).save(root / 'trainannot' / 'f1.png')


@pytest.mark.parametrize(
    'mask,expected',
    [
        (np.full((36, 48), 255, np.uint8), 'the value 255'),
        (np.full((36, 48), 12, np.uint8), 'the value 12'),
        (np.zeros((36, 48, 3), np.uint8), 'convert it'),
        (np.zeros((36, 48), np.uint16), 'convert it'),
        (np.zeros((72, 96), np.uint8), 'the mask is 96x72, but its image'),
    ],
)
def test_bad_masks(root, mask, expected):
    replace_mask(root, mask)
    dataset = build(root)
    dataset[0]
    with pytest.raises(UserError) as error:
        dataset[1]
    message = str(error.value)
    assert '\n' not in message
    assert expected in message and str(Path('trainannot', 'f1.png')) in message


@pytest.mark.parametrize('folder', ['train', 'trainannot'])
@pytest.mark.parametrize('damage', ['half', 'tail', 'flipped', 'empty', 'text'])
def test_damaged_files(root, folder, damage):
    path = root / folder / 'f1.png'
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    if damage == 'flipped':
        data[middle] ^= 255
    else:
        data = dict(half=data[:middle], tail=data[:-5], empty=b'', text=b'not found')[damage]
    path.write_bytes(bytes(data))
    with pytest.raises(UserError) as error:
        build(root)[1]
    message = str(error.value)
    assert '\n' not in message
    assert str(Path(folder, 'f1.png')) in message and 'intact' in message


def test_a_worker_reports_the_file(root):
    replace_mask(root, np.full((36, 48), 99, np.uint8))
    broken = Subset(build(root, pipeline=TRAIN), [1])
    loader = DataLoader(broken, num_workers=1, collate_fn=list)
    with pytest.raises(UserError, match='the value 99'):
        list(loader)
