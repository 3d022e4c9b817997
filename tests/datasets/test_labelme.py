"""Shapes of LabelMe become masks of class ids."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import run
from PIL import Image

from mmseg_kd.config import load_config


def test_polygons_of_labelme(tmp_path: Path) -> None:
    src = tmp_path / 'src'
    src.mkdir()
    exif = Image.Exif()
    exif[274] = 6
    for i in range(3):
        # Stored lying on its side; upright it is 40 wide and 60 high.
        Image.new('RGB', (60, 40)).save(src / f'{i}.jpg', exif=exif)
        points = [[0, 0], [39, 0], [39, 29], [0, 29]]
        shape = dict(label='sky', points=points, shape_type='polygon')
        (src / f'{i}.json').write_text(json.dumps(dict(shapes=[shape])))
    assert run('dataset_converters/custom.py', src, tmp_path / 'dest') == 0
    assert load_config(str(tmp_path / 'dest' / 'baseline.py')).metainfo.classes == (
        'background', 'sky',
    )  # fmt: skip
    mask = np.asarray(Image.open(tmp_path / 'dest' / 'masks' / '0.jpg.png'))
    assert mask.shape == (60, 40) and (mask[:30] == 1).all() and (mask[30:] == 0).all()


def test_photos_without_shapes_are_background(tmp_path: Path) -> None:
    src = tmp_path / 'src'
    src.mkdir()
    for i in range(3):
        Image.new('RGB', (60, 40)).save(src / f'{i}.jpg')
        # Notepad saves with a byte order mark.
        (src / f'{i}.json').write_text(json.dumps(dict(shapes=[])), 'utf-8-sig')
    (tmp_path / 'classes.csv').write_text('name\nsky\ncar\n')
    options = ['--classes', tmp_path / 'classes.csv']
    assert run('dataset_converters/custom.py', src, tmp_path / 'dest', *options) == 0
    assert not np.asarray(Image.open(tmp_path / 'dest' / 'masks' / '0.jpg.png')).any()


def test_other_shapes_of_labelme(tmp_path: Path, capsys) -> None:
    src = tmp_path / 'src'
    src.mkdir()
    shapes = [
        dict(label='car', points=[[30, 20], [10, 5]], shape_type='rectangle'),
        dict(label='sun', points=[[50, 30], [50, 35]], shape_type='circle'),
    ]
    for i in range(3):
        Image.new('RGB', (60, 40)).save(src / f'{i}.jpg')
        (src / f'{i}.json').write_text(json.dumps(dict(shapes=shapes)))
    assert run('dataset_converters/custom.py', src, tmp_path / 'dest') == 0
    mask = np.asarray(Image.open(tmp_path / 'dest' / 'masks' / '0.jpg.png'))
    # Background, car, sun.
    assert (mask[5:21, 10:31] == 1).all() and (mask == 1).sum() == 16 * 21
    assert mask[30, 45] == mask[35, 50] == 2 and mask[36, 50] == mask[34, 46] == 0
    shapes[0]['shape_type'] = 'linestrip'
    (src / '1.json').write_text(json.dumps(dict(shapes=shapes)))
    assert run('dataset_converters/custom.py', src, tmp_path / 'other') == 2
    assert (
        '1.json: car is a linestrip of 2 points; draw it as one of polygon'
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ('shape', 'more', 'words'),
    [
        (dict(points=[[0, 0], [1, 1], [2, 2]], shape_type='circle'), {}, 'a circle of 3 points'),
        (dict(points=[[0, 0], [9, 9]], shape_type='polygon'), {}, 'a polygon of 2 points'),
        (dict(points=[['a', 0], [1, 1], [2, 2]]), {}, "is not LabelMe's JSON (bad operand"),
        (
            dict(points=[[0, 0], [9, 0], [9, 9]]),
            dict(imageWidth=640, imageHeight=480),
            'drawn on an image of 640x480, but',
        ),
    ],
)
def test_shapes_that_cannot_be_drawn_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture, shape: dict, more: dict, words: str
) -> None:
    src = tmp_path / 'src'
    src.mkdir()
    for i in range(3):
        Image.new('RGB', (60, 40)).save(src / f'{i}.jpg')
        content = dict(shapes=[dict(label='sky') | shape]) | more
        (src / f'{i}.json').write_text(json.dumps(content))
    assert run('dataset_converters/custom.py', src, tmp_path / 'dest') == 2
    err = capsys.readouterr().err
    assert '.json: ' in err and words in err
    assert not (tmp_path / 'dest').exists()
