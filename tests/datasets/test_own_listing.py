"""Missing files of a user's data set are reported in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from own_data import LOAD, build, mask, own_data, read, save_mask

from mmseg_kd.datasets import listing
from mmseg_kd.engine import KDRunner
from mmseg_kd.errors import UserError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return own_data(tmp_path)


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
        (b'0\n9\n', r"images/9\.jpg does not exist; .*img_suffix='\.jpg'"),
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
