"""Problems with a user's images and masks are reported in one line."""

from __future__ import annotations

import os
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import mmcv
import numpy as np
import pytest
from mmengine.config import ConfigDict
from own_data import HEIGHT, LOAD, WIDTH, build, mask, own_data, read, save_mask
from PIL import Image

from mmseg_kd.datasets.training_samples import TrainingSamples
from mmseg_kd.errors import UserError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return own_data(tmp_path)


def test_good_data_is_loaded_as_mmseg_does(root: Path) -> None:
    for sample in read(root):
        assert sample['img'].shape == (HEIGHT, WIDTH, 3)
        assert np.array_equal(sample['img'], mmcv.imread(sample['img_path']))
        assert np.array_equal(sample['gt_seg_map'], mask())


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def bomb(path: Path) -> None:
    """A PNG whose header says 60000x60000."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
        )

    header = struct.pack('>IIBBBBB', 60000, 60000, 8, 0, 0, 0, 0)
    parts = chunk(b'IHDR', header), chunk(b'IDAT', zlib.compress(bytes(9))), chunk(b'IEND', b'')
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + b''.join(parts))


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize('file', ['images/2.jpg', 'labels/2.png'])
@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (truncated, 'is not an image or not a whole one'),
        (lambda path: path.write_bytes(b''), 'is empty; replace it'),
        (lambda path: path.write_text('no picture'), 'is not an image or not a whole one'),
        (bomb, r'is not an image or .* exceeds limit of 1073741824 pixels'),
        pytest.param(
            pipe,
            'is not a file; remove it',
            marks=pytest.mark.skipif(sys.platform == 'win32', reason='no pipes in folders'),
        ),
    ],
    ids=['truncated', 'empty', 'text', 'bomb', 'pipe'],
)
def test_a_damaged_file(
    root: Path, file: str, damage: Callable[[Path], None], message: str
) -> None:
    damage(root / file)
    with pytest.raises(UserError, match=f'{file}: {message}') as error:
        read(root)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('labels', 'mode', 'message'),
    [
        (mask(), 'RGB', r'a mask with 3 channels \(RGB\), but a mask is one channel of 8 bits'),
        (mask(), 'RGBA', r'a mask with 4 channels \(RGBA\)'),
        (mask(), 'LA', r'a mask with 2 channels \(LA\)'),
        (mask().astype(np.uint16) * 256, None, 'a mask with the value 256'),
        (mask((WIDTH, HEIGHT)), None, 'the mask is 20x30, but its image .* is 30x20; if the photo'),
        (mask((40, 60)), None, 'the mask is 60x40, but its image .* is 30x20; both must have'),
    ],
    ids=['RGB', 'RGBA', 'LA', '16 bits', 'turned', 'larger'],
)
def test_a_file_that_is_not_a_mask(
    root: Path, labels: np.ndarray, mode: str | None, message: str
) -> None:
    save_mask(root, 1, labels, mode)
    with pytest.raises(UserError, match=rf'labels/1\.png: {message}'):
        read(root)


@pytest.mark.parametrize('mode', ['P', '1', '16 bits'])
def test_other_masks_of_one_channel(root: Path, mode: str) -> None:
    picture = Image.fromarray(mask())
    if mode == '16 bits':
        picture = Image.fromarray(mask().astype(np.uint16))
    elif mode == '1':
        picture = Image.fromarray(mask().astype(bool))
    else:
        picture.putpalette([0, 0, 0, 255, 0, 0])
    picture.save(root / 'labels' / '0.png')
    assert np.array_equal(read(root)[0]['gt_seg_map'], mask())


def test_masks_that_are_loaded_after_a_resize(root: Path) -> None:
    pipeline = [LOAD[0], dict(type='Resize', scale=(15, 10)), LOAD[1]]
    assert read(root, pipeline=pipeline)[0]['gt_seg_map'].shape == (HEIGHT, WIDTH)


def test_masks_inside_of_test_time_augmentation(root: Path) -> None:
    transforms = [[dict(type='Resize', scale=(15, 10))], [LOAD[1]], [dict(type='PackSegInputs')]]
    pipeline = [LOAD[0], dict(type='TestTimeAug', transforms=transforms)]
    assert len(read(root, pipeline=pipeline)) == 4
    save_mask(root, 1, mask(), 'RGB')
    with pytest.raises(UserError, match=r'labels/1\.png: a mask with 3 channels'):
        read(root, pipeline=pipeline)
    (root / 'labels' / '1.png').unlink()
    with pytest.raises(UserError, match=r'images/1\.jpg: has no mask'):
        build(root, pipeline=pipeline)


def test_what_training_sees_is_checked_as_well(root: Path) -> None:
    dataset = dict(
        type='BaseSegDataset',
        data_root=str(root),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        metainfo=dict(classes=('road', 'car')),
        pipeline=[*LOAD, dict(type='PackSegInputs')],
    )
    sampler = dict(type='SeededInfiniteSampler', shuffle=False)
    samples = TrainingSamples(ConfigDict(dataset=dataset, sampler=sampler), None, seed=0)
    assert len(list(samples.first(4))) == 4
    save_mask(root, 1, mask(), 'RGB')
    with pytest.raises(UserError, match=r'labels/1\.png: a mask with 3 channels'):
        list(TrainingSamples(ConfigDict(dataset=dataset, sampler=sampler), None, seed=0).first(4))
