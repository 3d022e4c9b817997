"""Photos and masks are written as a data set, or refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import run
from photos_and_masks import COLOURS, TOOL, converted, scenes, write
from PIL import Image


def test_masks_of_turned_photos(tmp_path: Path) -> None:
    """The masks are drawn on the photo as stored, or on the photo upright."""
    src = tmp_path / 'src'
    write(src, 4)
    image, ids = scenes(1)[0]
    exif = Image.Exif()
    exif[274] = 6
    for i in (0, 1):
        Image.fromarray(image).save(src / 'Photos' / f'Photo{i}.JPG', exif=exif)
    upright = np.ascontiguousarray(np.rot90(ids, -1))
    Image.fromarray(COLOURS[ids]).save(src / 'masks' / 'photo0_mask.png')
    Image.fromarray(COLOURS[upright]).save(src / 'masks' / 'photo1_mask.png')
    assert run(TOOL, src, tmp_path / 'dest') == 0
    masks = converted(tmp_path / 'dest')
    order = np.array([0, 2, 1], np.uint8)
    assert (masks['Photo0.JPG.png'] == order[upright]).all()
    assert (masks['Photo1.JPG.png'] == order[upright]).all()


def test_weights_are_the_median_over_the_frequency(tmp_path: Path, capsys) -> None:
    src = tmp_path / 'src'
    write(src, 4, mask=lambda ids: Image.fromarray(np.uint8(np.indices(ids.shape)[1] < 18)))
    # A class that is in one image alone: its frequency is its share of that image.
    odd = np.zeros((56, 72), np.uint8)
    odd[:28] = 2
    Image.fromarray(odd).save(src / 'masks' / 'photo0_mask.png')
    assert run(TOOL, src, tmp_path / 'dest', '--split', 50, 25, 25) == 0
    names = (tmp_path / 'dest' / 'train.txt').read_text().split()
    assert names == ['Photo2.JPG', 'Photo0.JPG']
    # Frequencies in these two: 0 has 0.75 + 0.5 of 2 images, 1 a quarter of one, 2 half of one.
    frequency = np.array([1.25 / 2, 0.25, 0.5])
    weights = (0.5 / frequency).round(3).tolist()
    out = capsys.readouterr().out
    assert all(str(weight) in out for weight in weights)
    text = (tmp_path / 'dest' / 'data.py').read_text()
    assert f'class_weight=[{",".join(map(str, weights))}]' in text


def no_masks(src: Path) -> None:
    for path in (src / 'masks').iterdir():
        path.unlink()


def wide(src: Path) -> None:
    Image.fromarray(np.zeros((56, 72), np.uint16)).save(src / 'masks' / 'photo1_mask.png')


def smaller(src: Path) -> None:
    Image.fromarray(COLOURS[scenes(1)[0][1][:40]]).save(src / 'masks' / 'photo1_mask.png')


def truncated(src: Path) -> None:
    path = src / 'Photos' / 'Photo4.JPG'
    path.write_bytes(path.read_bytes()[:500])


def blurred(src: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (56, 72, 3), np.uint8)
    Image.fromarray(noise).save(src / 'masks' / 'photo1_mask.png')


def twice(src: Path) -> None:
    Image.new('RGB', (72, 56)).save(src / 'Photos' / 'photo0.png')


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (twice, 'Photo0.JPG and photo0.png differ in case or suffix alone'),
        (no_masks, 'has the name of an image in'),
        (wide, 'photo1_mask.png: has mode I;16; save it with 8 bits per channel'),
        (smaller, 'photo1_mask.png: the mask is 72x40, but its image'),
        (truncated, 'Photo4.JPG: is not an image or not a whole one'),
        (blurred, 'photo1_mask.png: the masks hold more than 255 values'),
    ],
)
def test_what_cannot_be_converted_is_one_line(tmp_path: Path, capsys, change, words) -> None:
    write(tmp_path / 'src')
    change(tmp_path / 'src')
    assert run(TOOL, tmp_path / 'src', tmp_path / 'dest') == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith('error')]
    assert words in line
    assert [path.name for path in tmp_path.iterdir()] == ['src']
