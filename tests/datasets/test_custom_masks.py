"""Masks of many kinds, and tables of classes, become class ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import run
from photos_and_masks import COLOURS, TOOL, converted, palette, write
from PIL import Image

from mmseg_kd.config import load_config


@pytest.mark.parametrize(
    ('mask', 'classes'),
    [
        (None, ('colour_0_0_0', 'colour_10_200_10', 'colour_200_10_10')),
        (Image.fromarray, ('class_0', 'class_1', 'class_2')),
        (palette, ('class_0', 'class_1', 'class_2')),
        (lambda ids: Image.fromarray(ids * 3 + 4), ('class_4', 'class_7', 'class_10')),
    ],
)
def test_kinds_of_masks(tmp_path: Path, mask, classes: tuple[str, ...]) -> None:
    expected = write(tmp_path / 'src', mask=mask)
    assert run(TOOL, tmp_path / 'src', tmp_path / 'dest') == 0
    cfg = load_config(str(tmp_path / 'dest' / 'baseline.py'))
    assert cfg.metainfo.classes == classes and cfg.model.decode_head.num_classes == 3
    # Colours are in ascending order: black, green, red.
    order = np.array([0, 2, 1] if mask is None else [0, 1, 2], np.uint8)
    for i, ids in enumerate(expected):
        assert (converted(tmp_path / 'dest')[f'Photo{i}.JPG.png'] == order[ids]).all()
    lists = [(tmp_path / 'dest' / f'{s}.txt').read_text().split() for s in ('train', 'val', 'test')]
    assert [len(names) for names in lists] == [6, 1, 1]
    assert sorted(name for names in lists for name in names) == [f'Photo{i}.JPG' for i in range(8)]


def test_two_values_and_ignored_pixels(tmp_path: Path, capsys) -> None:
    write(tmp_path / 'two', mask=lambda ids: Image.fromarray(np.uint8(ids == 1) * 255))
    assert run(TOOL, tmp_path / 'two', tmp_path / 'a') == 0
    assert load_config(str(tmp_path / 'a' / 'teacher.py')).metainfo.classes == (
        'class_0', 'class_255',
    )  # fmt: skip
    ignored = np.array([0, 1, 255], np.uint8)
    expected = write(tmp_path / 'void', mask=lambda ids: Image.fromarray(ignored[ids]))
    capsys.readouterr()
    assert run(TOOL, tmp_path / 'void', tmp_path / 'b') == 0
    share = 100 * np.mean([ids == 2 for ids in expected])
    assert f'{share:.2f} %' in capsys.readouterr().out
    assert (converted(tmp_path / 'b')['Photo0.JPG.png'] == ignored[expected[0]]).all()


def test_a_table_of_classes(tmp_path: Path) -> None:
    expected = write(tmp_path / 'src')
    table = tmp_path / 'classes.csv'
    table.write_text('name, r, g, b\nfloor,200,10,10\n잔디,10,200,10\nvoid,0,0,0\n', 'utf-8')
    assert run(TOOL, tmp_path / 'src', tmp_path / 'dest', '--classes', table) == 0
    cfg = load_config(str(tmp_path / 'dest' / 'baseline.py'))
    assert cfg.metainfo.classes == ('floor', '잔디')
    assert cfg.metainfo.palette == [[200, 10, 10], [10, 200, 10]]
    order = np.array([255, 0, 1], np.uint8)
    assert (converted(tmp_path / 'dest')['Photo3.JPG.png'] == order[expected[3]]).all()


@pytest.mark.parametrize('table', [None, 'name,r,g,b\ngreen,10,200,10\nred,200,10,10\n'])
def test_palettes_that_differ_are_colours(tmp_path: Path, table: str | None) -> None:
    shift = iter(range(8))

    def rotated(ids: np.ndarray) -> Image.Image:
        """The same colours at other places of the palette, as tools that shrink PNGs write them."""
        places = next(shift)
        picture = Image.fromarray(np.uint8((ids + places) % 3), 'P')
        picture.putpalette(np.roll(COLOURS, places, axis=0).ravel().tolist())
        return picture

    expected = write(tmp_path / 'src', mask=rotated if table is None else palette)
    options = []
    if table is not None:
        (tmp_path / 'classes.csv').write_text(table, encoding='utf-8')
        options = ['--classes', tmp_path / 'classes.csv']
    assert run(TOOL, tmp_path / 'src', tmp_path / 'dest', *options) == 0
    order = np.array([0, 2, 1] if table is None else [255, 1, 0], np.uint8)
    for i, ids in enumerate(expected):
        assert (converted(tmp_path / 'dest')[f'Photo{i}.JPG.png'] == order[ids]).all()


def test_ids_of_a_table_count_where_palettes_differ(tmp_path: Path) -> None:
    expected = write(tmp_path / 'src', mask=palette)
    other = palette(expected[1])
    other.putpalette(COLOURS[::-1].ravel().tolist())
    other.save(tmp_path / 'src' / 'masks' / 'photo1_mask.png')
    (tmp_path / 'classes.csv').write_text('name,id\nroad,1\nsky,0\n', encoding='utf-8')
    options = ['--classes', tmp_path / 'classes.csv']
    assert run(TOOL, tmp_path / 'src', tmp_path / 'dest', *options) == 0
    order = np.array([1, 0, 255], np.uint8)
    assert (converted(tmp_path / 'dest')['Photo1.JPG.png'] == order[expected[1]]).all()


def test_ids_next_to_palettes_that_differ_are_of_several_kinds(tmp_path: Path, capsys) -> None:
    masks = iter([palette, palette, *[Image.fromarray] * 6])
    write(tmp_path / 'src', mask=lambda ids: next(masks)(ids))
    other = palette(np.zeros((56, 72), np.uint8))
    other.putpalette(COLOURS[::-1].ravel().tolist())
    other.save(tmp_path / 'src' / 'masks' / 'photo1_mask.png')
    assert run(TOOL, tmp_path / 'src', tmp_path / 'dest') == 2
    assert 'are of several kinds (class ids, colours, polygons)' in capsys.readouterr().err


def test_values_of_one_name_are_one_class(tmp_path: Path) -> None:
    expected = write(tmp_path / 'src', mask=Image.fromarray)
    (tmp_path / 'classes.csv').write_text('name,id\nroad,0\nsky,2\nroad,1\n', encoding='utf-8')
    options = ['--classes', tmp_path / 'classes.csv']
    assert run(TOOL, tmp_path / 'src', tmp_path / 'dest', *options) == 0
    cfg = load_config(str(tmp_path / 'dest' / 'baseline.py'))
    assert cfg.metainfo.classes == ('road', 'sky') and len(cfg.metainfo.palette) == 2
    order = np.array([0, 0, 1], np.uint8)
    assert (converted(tmp_path / 'dest')['Photo0.JPG.png'] == order[expected[0]]).all()


@pytest.mark.parametrize(
    ('table', 'words'),
    [
        ('a,b\n1,2\n', 'has the columns a, b; write name,r,g,b or name,id'),
        ('name,red,green,blue\nsky,1,2,3\n', 'has the columns name, red, green, blue; write'),
        ('name,r,g,b\nx,1,2\n', 'line 2: r, g and b, or id, must be whole numbers from 0 to 255'),
        ('name,r,g,b\nx,1,2,3\ny,300,1,1\n', 'line 3: r, g and b, or id, must be whole numbers'),
        ('id,name\n1,x\n2\n', 'line 3: has no name'),
        ('name,id\nx,0\ny,1\nz,0\n', 'line 4: 0 is x in an earlier line; remove one'),
        ('name\nx\ny\n', 'the masks and --classes, are of several kinds'),
        ('name,r,g,b\nx,1,2,3\n', '1 classes; 2 to 255 are possible'),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, capsys, table: str, words: str) -> None:
    write(tmp_path / 'src', 3)
    (tmp_path / 'classes.csv').write_text(table, encoding='utf-8')
    arguments = [tmp_path / 'src', tmp_path / 'dest', '--classes', tmp_path / 'classes.csv']
    assert run(TOOL, *arguments) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / 'dest').exists()


def test_jpegs_of_two_values_are_no_masks(tmp_path: Path, capsys) -> None:
    write(tmp_path / 'src', 3)
    for path in [*(tmp_path / 'src' / 'masks').iterdir()]:
        with Image.open(path) as picture:
            picture.convert('L').point(lambda x: 255 * (x > 0)).save(path.with_suffix('.jpg'))
        path.unlink()
    assert run(TOOL, tmp_path / 'src', tmp_path / 'dest') == 2
    err = capsys.readouterr().err
    assert '.jpg: the masks hold more than 2 values, as JPEGs and smooth edges do' in err
