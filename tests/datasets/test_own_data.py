"""Own images and masks through mmseg's BaseSegDataset: what is wrong with a file is one line."""

from __future__ import annotations

import os
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from mmengine.config import ConfigDict
from mmengine.dataset import BaseDataset
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_kd.datasets import CamVidDataset, SegAugment, checked_files, listing
from mmseg_kd.datasets.training_samples import TrainingSamples
from mmseg_kd.engine import KDRunner
from mmseg_kd.errors import UserError

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
ORIENTATION = 0x0112
HEIGHT, WIDTH = 20, 30


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four photos of 30x20 with masks of the ids 0 and 1."""
    for folder in ('images', 'labels'):
        (tmp_path / folder).mkdir()
    for i in range(4):
        noise = np.random.default_rng(i).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / 'images' / f'{i}.jpg')
        save_mask(tmp_path, i, mask())
    return tmp_path


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


def test_good_data_is_loaded_as_mmseg_does(root: Path) -> None:
    for sample in read(root):
        assert sample['img'].shape == (HEIGHT, WIDTH, 3)
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
        (bomb, 'has more than 178,956,970 pixels; cut it into tiles'),
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
def test_a_mask_that_is_none(
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


@pytest.mark.parametrize('size', [(1, 1), (1, 500), (500, 1)])
def test_a_mask_of_one_row_or_column_keeps_its_shape(root: Path, size: tuple[int, int]) -> None:
    Image.fromarray(np.zeros((*size, 3), np.uint8)).save(root / 'images' / '0.jpg')
    save_mask(root, 0, np.zeros(size, np.uint8))
    assert read(root)[0]['gt_seg_map'].shape == size


def test_an_image_that_is_too_thin_for_the_scale() -> None:
    step = SegAugment(scale=(48, 36), ratio_range=(0.1, 0.1), crop_size=(24, 24))
    sample = dict(
        img=np.zeros((1, 500, 3), np.uint8),
        gt_seg_map=np.zeros((1, 500), np.uint8),
        seg_fields=['gt_seg_map'],
        img_path='thin.jpg',
    )
    with pytest.raises(UserError, match=r'thin\.jpg: 500x1 pixels, of which the scale \(4, 3\)'):
        step(sample)


def test_augmenting_an_image_and_a_mask_of_two_sizes() -> None:
    step = SegAugment(scale=(48, 36), ratio_range=(0.5, 2.0), crop_size=(24, 24))
    sample = dict(
        img=np.zeros((36, 48, 3), np.uint8),
        gt_seg_map=np.zeros((48, 36), np.uint8),
        seg_fields=['gt_seg_map'],
        img_path='a.jpg',
        seg_map_path='a.png',
    )
    with pytest.raises(
        UserError, match=r'a\.png: the mask is 36x48, but its image a\.jpg is 48x36'
    ):
        step(sample)


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


def test_masks_that_are_loaded_after_a_resize(root: Path) -> None:
    pipeline = [LOAD[0], dict(type='Resize', scale=(15, 10)), LOAD[1]]
    assert read(root, pipeline=pipeline)[0]['gt_seg_map'].shape == (HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (
            dict(img_suffix='.JPG'),
            r"holds no image with img_suffix='.JPG'; it holds .jpg: write .*img_suffix='.jpg'",
        ),
        (
            dict(data_prefix=dict(img_path='photos', seg_map_path='labels')),
            r'dataset\.data_prefix\.img_path: .*photos is not a folder',
        ),
        (
            dict(data_prefix=dict(img='images', mask='labels')),
            r'dataset\.data_prefix: has img, mask, but not img_path',
        ),
        (dict(metainfo=dict()), r'dataset\.metainfo: has no classes'),
        (dict(seg_map_suffix='.bmp'), r'images/0\.jpg: has no mask, .*0\.bmp is missing'),
        (dict(ann_file='list.txt'), r'dataset\.ann_file: .*list\.txt does not exist'),
        (dict(data_prefix=dict(img_path='images')), r'images/0\.jpg: has no mask; write data_pref'),
    ],
)
def test_what_a_data_set_does_not_find(root: Path, settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(root, **settings)


def test_an_empty_folder(root: Path) -> None:
    for file in (root / 'images').iterdir():
        file.unlink()
    with pytest.raises(UserError, match=r"images holds no image with img_suffix='.jpg'$"):
        build(root)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'0\n\n1\n', r'list\.txt, line 2: is blank; remove the line'),
        ('사진\n'.encode('cp949'), r'list\.txt: is not UTF-8 text'),
        ('0\n'.encode('utf-16'), r'list\.txt: is not UTF-8 text'),
        ('0\n'.encode('utf-8-sig'), r'list\.txt: begins with a byte order mark'),
        (b'0\n9\n', r'images/9\.jpg: No such file or directory'),
        (b'', r'list\.txt: lists no image'),
    ],
)
def test_lists(root: Path, content: bytes, message: str) -> None:
    (root / 'list.txt').write_bytes(content)
    with pytest.raises(UserError, match=message):
        build(root, ann_file='list.txt')


def test_a_missing_mask(root: Path) -> None:
    (root / 'labels' / '3.png').unlink()
    with pytest.raises(UserError, match=r'images/3\.jpg: has no mask, .*3\.png is missing'):
        build(root)
    # Where masks are not loaded they may be missing.
    assert len(build(root, pipeline=LOAD[:1])) == 4


@pytest.mark.parametrize('folder', ['images', 'labels'])
def test_images_of_another_suffix_are_reported(
    root: Path, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(listing, 'print_log', lambda text, **_: lines.append(text))
    for i in (1, 3):
        (root / 'images' / f'{i}.jpg').rename(root / 'images' / f'{i}.JPEG')
    if folder == 'labels':
        # Images and masks in one folder: masks are not images that were left out.
        for file in (root / 'labels').iterdir():
            file.rename(root / 'images' / file.name)
    prefix = dict(img_path='images', seg_map_path='images' if folder == 'labels' else 'labels')
    assert len(build(root, data_prefix=prefix)) == 2
    (line,) = lines
    assert f'2 images of {root / "images"} are left out' in line
    assert '1.JPEG' in line


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


def test_data_sets_in_wrappers(root: Path) -> None:
    inner = dict(
        type='BaseSegDataset',
        data_root=str(root),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        metainfo=dict(classes=('road', 'car')),
        pipeline=LOAD,
    )
    repeated = dict(type='RepeatDataset', times=2, dataset=inner)
    loader = dict(batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False))
    for wrapper in (repeated, dict(type='ConcatDataset', datasets=[inner, dict(inner)])):
        save_mask(root, 2, mask())
        dataset = KDRunner.build_dataloader(loader | dict(dataset=wrapper)).dataset
        save_mask(root, 2, mask(), 'RGB')
        assert len(dataset) == 8
        with pytest.raises(UserError, match=r'labels/2\.png: a mask with 3 channels'):
            dataset[6]
        (root / 'images' / '0.jpg').rename(root / '0.jpg')
        (root / 'labels' / '0.png').unlink()
        (root / '0.jpg').rename(root / 'images' / '0.jpg')
        with pytest.raises(UserError, match=r'0\.jpg: has no mask'):
            KDRunner.build_dataloader(loader | dict(dataset=wrapper))
        save_mask(root, 0, mask())


def test_data_sets_derived_from_the_projects_check_themselves() -> None:
    class Mine(CamVidDataset):
        pass

    dataset = Mine(lazy_init=True, pipeline=LOAD)
    checked_files.guard(dataset)
    # The cache looks for these very types.
    assert type(dataset.pipeline.transforms[0]) is LoadImageFromFile


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
    assert np.array_equal(first['img'], second['img'])
    exif[ORIENTATION] = 6
    Image.fromarray(noise).save(tmp_path / 'train' / 'a.png', exif=exif)
    dataset = DATASETS.build(
        dict(type='CamVidDataset', data_root=str(tmp_path), cache_mib=1, pipeline=LOAD)
    )
    with pytest.raises(UserError, match=r'a\.png: the mask is 30x20, but its image .* is 20x30'):
        dataset[0]
