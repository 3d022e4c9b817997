"""Images find their masks, and pairs are split."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from conftest import run
from photos_and_masks import TOOL, write

from mmseg_kd.config import load_config
from mmseg_kd.datasets.custom.pairs import Pair, pair_up, split_pairs
from mmseg_kd.errors import UserError


@pytest.mark.parametrize(
    ('count', 'shares', 'sizes'),
    [(3, (10, 80, 10), [1, 1, 1]), (4, (5, 90, 5), [1, 2, 1]), (10, (70, 15, 15), [6, 2, 2])],
)
def test_every_split_with_a_share_has_an_image(
    count: int, shares: tuple[int, int, int], sizes: list[int]
) -> None:
    pairs = [Pair(Path(f'{i}.png'), Path(f'{i}.png'), Path(f'{i}.png')) for i in range(count)]
    splits = split_pairs(pairs, shares, 0)
    assert [len(split) for split in splits.values()] == sizes
    assert sorted(pair for split in splits.values() for pair in split) == pairs


def test_masks_below_the_images_are_not_images(tmp_path: Path, capsys) -> None:
    src = tmp_path / 'src'
    write(src, 4)
    for path in (src / 'Photos').iterdir():
        path.rename(src / path.name)
    (src / 'Photos').rmdir()
    assert run(TOOL, src, tmp_path / 'dest') == 0
    out = capsys.readouterr().out
    assert 'without a partner' not in out and 'train: 2 images, val: 1 images' in out


def test_hangul_of_macos_and_of_windows_is_one_name(tmp_path: Path) -> None:
    for form, name in (('NFD', '사진.jpg'), ('NFC', '사진_label.png')):
        (tmp_path / form).mkdir()
        (tmp_path / form / unicodedata.normalize(form, name)).touch()
    (pair,), images, masks = pair_up(tmp_path / 'NFD', tmp_path / 'NFC')
    assert pair.image.parent.name == 'NFD' and pair.mask.parent.name == 'NFC'
    assert not images and not masks


@pytest.mark.parametrize('names', [('train', 'val'), ('Training', 'validation')])
def test_folders_that_are_split_keep_their_split(tmp_path: Path, names: tuple[str, str]) -> None:
    for split, count in zip(names, (3, 2), strict=True):
        write(tmp_path / 'other' / split, count)
        for kind, name in (('images', 'Photos'), ('masks', 'masks')):
            (tmp_path / 'src' / kind).mkdir(parents=True, exist_ok=True)
            (tmp_path / 'other' / split / name).rename(tmp_path / 'src' / kind / split)
    assert run(TOOL, tmp_path / 'src', tmp_path / 'dest') == 0
    listed = (tmp_path / 'dest' / 'val.txt').read_text().split()
    assert listed == [f'{names[1]}/Photo0.JPG', f'{names[1]}/Photo1.JPG']
    cfg = load_config(str(tmp_path / 'dest' / 'baseline.py'))
    assert cfg.test_dataloader.dataset.ann_file == 'val.txt'


def test_what_has_no_partner_is_named(tmp_path: Path, capsys) -> None:
    write(tmp_path / 'src')
    (tmp_path / 'src' / 'masks' / 'photo2_mask.png').unlink()
    (tmp_path / 'src' / 'Photos' / 'Photo5.JPG').unlink()
    assert run(TOOL, tmp_path / 'src', tmp_path / 'dest') == 0
    out = capsys.readouterr().out
    assert 'images without a partner, left out: 1 (Photo2.JPG, ...)' in out
    assert 'masks without a partner, left out: 1 (photo5_mask.png, ...)' in out


@pytest.mark.parametrize('folders', [('train', 'test'), ('train', 'val', 'extra'), ('val',)])
def test_images_that_are_split_in_part_are_not_shuffled(folders: tuple[str, ...]) -> None:
    names = [Path(folder, f'{i}.png') for folder in folders for i in range(3)]
    pairs = [Pair(name, name, name) for name in names]
    with pytest.raises(UserError, match='put all of them into train, val and test'):
        split_pairs(pairs, (70, 15, 15), 0)


def test_a_class_of_the_table_that_no_mask_has_is_named(tmp_path: Path, capsys) -> None:
    write(tmp_path / 'src')
    table = tmp_path / 'classes.csv'
    table.write_text('name,r,g,b\nfloor,200,10,10\ngrass,10,200,11\nblack,0,0,0\n', 'utf-8')
    dest = tmp_path / 'my data'
    assert run(TOOL, tmp_path / 'src', dest, '--classes', table) == 0
    out = capsys.readouterr().out
    assert 'no mask has grass: look at the names, ids or colours in --classes' in out
    # The commands can be pasted.
    assert f'python tools/train.py "{(dest / "student.py").as_posix()}"' in out


def test_masks_that_no_image_has_are_named_with_the_endings(tmp_path: Path, capsys) -> None:
    write(tmp_path / 'src', 3)
    for path in (tmp_path / 'src' / 'masks').iterdir():
        path.rename(path.with_stem(f'{path.stem}_labelIds'))
    assert run(TOOL, tmp_path / 'src', tmp_path / 'dest') == 2
    assert 'alone or with _mask, -mask, ' in capsys.readouterr().err
