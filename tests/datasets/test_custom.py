"""A user's folder of images and masks becomes a data set that trains."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from conftest import run
from PIL import Image

from mmseg_kd.config import load_config
from mmseg_kd.datasets.custom.pairs import Pair, pair_up, split_pairs

TOOL = 'dataset_converters/custom.py'
COLOURS = np.array([[0, 0, 0], [200, 10, 10], [10, 200, 10]], np.uint8)


def scenes(count: int, size: tuple[int, int] = (72, 56)) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images whose colour shows the class, and their ids."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        ids = np.array(Image.fromarray(rng.integers(0, 3, (3, 4), np.uint8)).resize(size, 0))
        image = np.clip(60 + COLOURS[ids] // 2 + rng.integers(0, 40, (*ids.shape, 3)), 0, 255)
        found.append((image.astype(np.uint8), ids))
    return found


def write(folder: Path, count: int = 8, mask=None) -> list[np.ndarray]:
    """Write JPEG photos and masks; `mask` makes the picture of an array of ids."""
    (folder / 'Photos').mkdir(parents=True)
    (folder / 'masks').mkdir()
    mask = mask or (lambda ids: Image.fromarray(COLOURS[ids]))
    for i, (image, ids) in enumerate(scenes(count)):
        Image.fromarray(image).save(folder / 'Photos' / f'Photo{i}.JPG')
        mask(ids).save(folder / 'masks' / f'photo{i}_mask.png')
    return [ids for _, ids in scenes(count)]


def converted(dest: Path) -> dict[str, np.ndarray]:
    return {
        path.name: np.asarray(Image.open(path)) for path in sorted((dest / 'masks').rglob('*.png'))
    }


def palette(ids: np.ndarray) -> Image.Image:
    picture = Image.fromarray(ids, 'P')
    picture.putpalette(COLOURS.ravel().tolist())
    return picture


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


def test_a_quote_in_the_name_of_the_data_set(tmp_path: Path) -> None:
    write(tmp_path / 'src', 3)
    dest = tmp_path / "Kim's fields"
    assert run(TOOL, tmp_path / 'src', dest) == 0
    cfg = load_config(str(dest / 'student.py'))
    assert cfg.work_dir == "work_dirs/Kim's fields_student"
    assert cfg.model.teacher.checkpoint == "work_dirs/Kim's fields_teacher/iter_4000.pth"
    assert cfg.model.teacher.baseline == "work_dirs/Kim's fields_baseline"


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
    assert '1 images without a partner are left out: Photo2.JPG' in out
    assert '1 masks without a partner are left out: photo5_mask.png' in out


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
        (twice, 'Photo0.JPG and photo0.png differ in capitals or suffix alone'),
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


@pytest.mark.parametrize(
    ('table', 'words'),
    [
        ('a,b\n1,2\n', 'has no column `name`'),
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


@pytest.mark.slow
def test_four_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty photos are trained, distilled, tested and predicted."""
    write(tmp_path / 'src', 40)
    monkeypatch.chdir(tmp_path)
    assert run(TOOL, 'src', 'data/mine') == 0
    # The configs as written, with a few iterations of small batches in the main process.
    options = [
        '--cfg-options', 'train_cfg.max_iters=2', 'train_cfg.val_interval=2',
        'default_hooks.checkpoint.interval=2', 'train_dataloader.batch_size=2',
        *(f'{split}_dataloader.num_workers=0' for split in ('train', 'val', 'test')),
        *(f'{split}_dataloader.persistent_workers=False' for split in ('train', 'val', 'test')),
    ]  # fmt: skip
    teacher = 'model.teacher.checkpoint=work_dirs/mine_teacher/iter_2.pth'
    for role in ('baseline', 'teacher'):
        assert run('train.py', f'data/mine/{role}.py', *options) == 0
    assert run('train.py', 'data/mine/student.py', *options, teacher) == 0
    checkpoint = 'work_dirs/mine_student/iter_2.pth'
    assert run('test.py', 'data/mine/student.py', checkpoint, *options) == 0
    assert run('predict.py', checkpoint, 'src/Photos', '--out', 'predictions') == 0
    assert len(list(Path('predictions/ids').iterdir())) == 40
