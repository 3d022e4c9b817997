"""Read masks of any usual kind: class ids, palettes, RGB colours, LabelMe polygons."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from PIL import Image, ImageDraw
from tqdm import tqdm

from mmseg_kd.datasets.checked_files import open_image
from mmseg_kd.datasets.custom.pairs import Pair
from mmseg_kd.errors import UserError, one_line

IGNORED = 255
MOST_CLASSES = 255
# Classes of these names, in small letters, are ignored in training and testing.
IGNORED_NAMES = ('void', 'ignore', 'ignored')
# What is outside of all polygons, as in LabelMe's own converters.
BACKGROUND = 'background'

# A value in a mask: a class id, an RGB colour, or the name of a polygon.
Value = int | tuple[int, int, int] | str


@dataclass(frozen=True)
class Legend:
    """The classes of the masks.

    Attributes:
        names: In the order of the ids.
        palette: Their RGB colours.
        ids: The class id of each value that occurs in the masks; 255 is ignored.
    """

    names: list[str]
    palette: list[tuple[int, int, int]]
    ids: dict[Value, int]


def read_mask(pair: Pair) -> np.ndarray | list[tuple[str, list]]:
    """Read a mask: ids (H, W), colours (H, W, 3), or LabelMe's polygons with their names.

    Raises:
        UserError: It cannot be read, or has more than 8 bits per channel.
    """
    if pair.mask.suffix.lower() == '.json':
        try:
            shapes = json.loads(pair.mask.read_text(encoding='utf-8'))['shapes']
            return [(shape['label'], [tuple(p) for p in shape['points']]) for shape in shapes]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{pair.mask}: is not LabelMe's JSON ({one_line(error)})") from error
    with open_image(pair.mask) as picture:
        if picture.mode in ('1', 'L', 'P'):
            return np.array(picture.convert('L') if picture.mode == '1' else picture)
        if picture.mode in ('RGB', 'RGBA'):
            return np.array(picture.convert('RGB'))
    raise UserError(f'{pair.mask}: has mode {picture.mode}; save it with 8 bits per channel')


def find_legend(pairs: Sequence[Pair], classes: Path | None) -> Legend:
    """Find the classes of masks: all values that occur, or those of a table.

    Values become ids in ascending order. 255 in masks of class ids is ignored, unless the masks
    hold 0 and 255 alone. With a table, values that it does not name are ignored.

    Args:
        pairs: Images and masks.
        classes: A CSV file with a header: `name` and `r,g,b`, or `name` and `id`, or `name` alone
            for LabelMe.

    Raises:
        UserError: A mask or the table cannot be read, masks are of several kinds, or there are too
            many values to be classes.
    """
    found: set[Value] = set()
    for pair in tqdm(pairs, 'masks', leave=False, disable=None):
        found |= _values(read_mask(pair))
        if len(found) > MOST_CLASSES + 1 and classes is None:
            raise UserError(
                f'{pair.mask}: the masks hold more than {MOST_CLASSES} values, so they are not all '
                'classes (JPEG masks and smooth edges have mixed colours); name the true colours '
                'with --classes FILE.csv'
            )
    if len({type(value) for value in found}) > 1:
        raise UserError('the masks are of several kinds (class ids, colours, polygons); use one')
    if classes is not None:
        names = _read_table(classes)
    else:
        values = sorted(found)
        if set(values) != {0, IGNORED}:
            values = [value for value in values if value != IGNORED]
        names = {value: _name(value) for value in values}
    if any(isinstance(value, str) for value in found):
        names = {BACKGROUND: BACKGROUND} | names
    kept = [v for v, name in names.items() if name.lower() not in IGNORED_NAMES]
    if not 2 <= len(kept) <= MOST_CLASSES:
        raise UserError(f'{classes or "the masks"}: {len(kept)} classes; 2 to 255 are possible')
    ids = dict.fromkeys(found | set(names), IGNORED) | {v: i for i, v in enumerate(kept)}
    palette = [v if isinstance(v, tuple) else class_colour(i) for i, v in enumerate(kept)]
    return Legend([names[value] for value in kept], palette, ids)


def to_ids(mask: np.ndarray | list, legend: Legend, size: tuple[int, int]) -> np.ndarray:
    """Translate a mask into class ids (H, W), uint8.

    Args:
        mask: Of `read_mask`.
        legend: The classes.
        size: Width and height of the image, for polygons.
    """
    if isinstance(mask, list):
        picture = Image.new('L', size, legend.ids[BACKGROUND])
        for label, points in mask:
            if len(points) > 2:
                ImageDraw.Draw(picture).polygon(points, fill=legend.ids[label])
        return np.array(picture)
    if mask.ndim == 2:
        table = np.full(256, IGNORED, np.uint8)
        for value, number in legend.ids.items():
            table[value] = number
        return table[mask]
    codes = _codes(mask)
    found, where = np.unique(codes, return_inverse=True)
    numbers = [legend.ids.get(_colour_of(code), IGNORED) for code in found]
    return np.array(numbers, np.uint8)[where].reshape(codes.shape)


def _codes(colours: np.ndarray) -> np.ndarray:
    return colours.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)


def _colour_of(code: int) -> tuple[int, int, int]:
    return int(code) >> 16, int(code) >> 8 & 255, int(code) & 255


def _values(mask: np.ndarray | list) -> set[Value]:
    if isinstance(mask, list):
        return {label for label, _ in mask}
    if mask.ndim == 2:
        return {int(value) for value in np.unique(mask)}
    return {_colour_of(code) for code in np.unique(_codes(mask))}


def _name(value: Value) -> str:
    if isinstance(value, tuple):
        return 'colour_{}_{}_{}'.format(*value)
    return value if isinstance(value, str) else f'class_{value}'


def class_colour(number: int) -> tuple[int, int, int]:
    """Return the RGB colour of a class that has none of its own; 20 of them repeat."""
    return tuple(round(255 * x) for x in colormaps['tab20'](number % 20)[:3])


def _read_table(file: Path) -> dict[Value, str]:
    try:
        with file.open(encoding='utf-8-sig', newline='') as stream:
            reader = csv.DictReader(stream, skipinitialspace=True)
            rows: Iterable[dict] = list(reader)
            columns = {name.lower().strip(): name for name in reader.fieldnames or ()}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f'--classes: {file} cannot be read ({one_line(error)})') from error
    if 'name' not in columns:
        raise UserError(f'--classes: {file} has no column `name`; write name,r,g,b or name,id')
    names: dict[Value, str] = {}
    for number, row in enumerate(rows, 2):
        name = row[columns['name']]
        try:
            if {'r', 'g', 'b'} <= columns.keys():
                value: Value = tuple(int(row[columns[channel]]) for channel in 'rgb')
            else:
                value = int(row[columns['id']]) if 'id' in columns else name
        except (TypeError, ValueError) as error:
            raise UserError(
                f'--classes: {file}, line {number}: r, g and b, or id, must be whole numbers'
            ) from error
        names[value] = name
    return names
