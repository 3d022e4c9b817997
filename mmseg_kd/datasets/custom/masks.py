"""Read masks of any usual kind: class ids, palettes, RGB colours, LabelMe's shapes."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from PIL import Image, ImageDraw
from tqdm import tqdm

from mmseg_kd.datasets.checked_files import open_image, read_text
from mmseg_kd.datasets.custom.pairs import Pair
from mmseg_kd.errors import UserError, user_errors

IGNORED = 255
MOST_CLASSES = 255
# Classes with these names, in lower case, are ignored in training and testing.
IGNORED_NAMES = ('void', 'ignore', 'ignored')
# The class of pixels outside all shapes, as in LabelMe's own converters.
BACKGROUND = 'background'
# Pillow's modes of masks, and the modes they are converted to: class ids or colours.
MODES = {'1': 'L', 'L': 'L', 'P': 'P', 'RGB': 'RGB', 'RGBA': 'RGB'}
COLOURS = 1 << 24

# A value in a mask: a class id, an RGB colour, or the name of a polygon.
Value = int | tuple[int, int, int] | str
# LabelMe's shapes with an area, and how many points they may have.
SHAPES = dict(polygon=range(3, 10**9), rectangle=range(2, 5), circle=range(2, 3))
# Values that a mask of each suffix may hold; JPEG invents values.
MOST_VALUES = dict.fromkeys(('.jpg', '.jpeg'), 2)


class Shapes(list):
    """LabelMe's shapes: name, kind and points of each; `size` is that of their image, or None."""

    size: tuple[int, int] | None = None


# A picture, or shapes.
Mask = Image.Image | Shapes


class Legend(NamedTuple):
    """The classes of the masks.

    Attributes:
        names: In the order of the ids.
        palette: Their RGB colours.
        ids: The class id of each value in the masks; other values are ignored.
    """

    names: list[str]
    palette: list[tuple[int, int, int]]
    ids: dict[Value, int]


def read_mask(path: Path) -> Mask:
    """Read a mask as a picture of mode L, P or RGB, or as shapes.

    Raises:
        UserError: It cannot be read, has more than 8 bits per channel, or a shape without an area.
    """
    if path.suffix.lower() == '.json':
        wrong = (ValueError, KeyError, TypeError, AttributeError)
        with user_errors(f"{path}: is not LabelMe's JSON (", *wrong, after=')'):
            content = json.loads(read_text(path))
            shapes = Shapes(
                (x['label'], x.get('shape_type', 'polygon'), [(+a, +b) for a, b in x['points']])
                for x in content['shapes']
            )
            if content.get('imageWidth'):
                shapes.size = (content['imageWidth'], content['imageHeight'])
        for label, kind, points in shapes:
            if len(points) not in SHAPES.get(kind, ()):
                raise UserError(
                    f'{path}: {label} is a {kind} of {len(points)} points; draw it as one of '
                    f'{", ".join(SHAPES)}, the last of two points'
                )
        return shapes
    with open_image(path) as picture:
        if picture.mode in MODES:
            return picture.convert(MODES[picture.mode])
    raise UserError(f'{path}: has mode {picture.mode}; save it with 8 bits per channel')


def find_legend(pairs: Sequence[Pair], classes: Path | None) -> Legend:
    """Find the classes of masks: all values that occur, or those of a table.

    Values become ids in ascending order. 255 in masks of class ids is ignored, unless the masks
    hold 0 and 255 alone. With a table, values that it does not name are ignored, and values of one
    name are one class. Masks with palettes hold colours if the table has colours, or if there is no
    table and the palettes disagree; otherwise they hold class ids.

    Args:
        pairs: Images and masks.
        classes: A CSV file with a header: `name` and `r,g,b`, or `name` and `id`, or `name` alone
            for LabelMe.

    Raises:
        UserError: A mask or the table cannot be read, masks are of several kinds, or there are too
            many values to be classes.
    """
    names = {} if classes is None else _read_table(classes)
    found: set[Value] = set()
    # The colours of each value in palettes.
    colours: dict[int, set[tuple]] = {}
    for pair in tqdm(pairs, 'masks', leave=False, disable=None):
        mask = read_mask(pair.mask)
        if isinstance(mask, list) or mask.mode != 'P':
            found |= _values(mask)
        else:
            for value in _values(mask):
                colour = tuple(mask.getpalette()[3 * value : 3 * value + 3])
                colours.setdefault(value, set()).add(colour)
        most = MOST_VALUES.get(pair.mask.suffix.lower(), MOST_CLASSES)
        if len(found) > most + 1 and classes is None:
            raise UserError(
                f'{pair.mask}: the masks hold more than {most} values, as JPEGs and smooth edges '
                'do; name the true colours or ids with --classes FILE.csv'
            )
    by_colour = any(isinstance(value, tuple) for value in names)
    by_colour |= not names and any(len(each) > 1 for each in colours.values())
    found |= set().union(*colours.values()) if by_colour else {*colours}
    if len({type(value) for value in (*found, *names)}) > 1:
        raise UserError(
            'the masks, or the masks and --classes, are of several kinds (class ids, colours, '
            'polygons); use one'
        )
    if classes is None:
        values = found if found == {0, IGNORED} else found - {IGNORED}
        names = {value: _name(value) for value in sorted(values)}
    if any(isinstance(value, str) for value in (*found, *names)):
        names = {BACKGROUND: BACKGROUND} | names
    kept = [v for v, name in names.items() if name.lower() not in IGNORED_NAMES]
    first: dict[str, Value] = {}
    for value in kept:
        first.setdefault(names[value], value)
    unique = [*first]
    if not 2 <= len(unique) <= MOST_CLASSES:
        raise UserError(f'{classes or "the masks"}: {len(unique)} classes; 2 to 255 are possible')
    palette = [v if isinstance(v, tuple) else class_colour(i) for i, v in enumerate(first.values())]
    return Legend(unique, palette, {v: unique.index(names[v]) for v in kept})


def to_ids(mask: Mask, ids: Mapping[Value, int], size: tuple[int, int]) -> np.ndarray:
    """Translate a mask into class ids (H, W), uint8.

    Args:
        mask: A picture or shapes.
        ids: The class id of each value; others become 255.
        size: Width and height of the image, for shapes.
    """
    if isinstance(mask, list):
        picture = Image.new('L', size, ids[BACKGROUND])
        for label, kind, points in mask:
            _draw(ImageDraw.Draw(picture), kind, points, ids.get(label, IGNORED))
        return np.array(picture)
    if mask.mode == 'P' and any(isinstance(value, tuple) for value in ids):
        mask = mask.convert('RGB')
    known, codes = _codes([[*ids]]), _codes(mask)
    table = np.full(1 + max(int(known.max()), int(codes.max())), IGNORED, np.uint8)
    table[known] = [*ids.values()]
    return table[codes]


def _draw(picture: ImageDraw.ImageDraw, kind: str, points: list, fill: int) -> None:
    if kind == 'polygon':
        picture.polygon(points, fill=fill)
    elif kind == 'rectangle':
        xs, ys = zip(*points, strict=True)
        picture.rectangle((min(xs), min(ys), max(xs), max(ys)), fill=fill)
    elif kind == 'circle':
        # The centre and a point of the edge.
        (x, y), radius = points[0], math.dist(*points)
        picture.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


def _codes(values: Image.Image | list) -> np.ndarray:
    """Return colours (H, W, 3) as whole numbers (H, W); ids (H, W) stay."""
    array = np.asarray(values)
    return array if array.ndim == 2 else array @ np.array([1 << 16, 1 << 8, 1])


def _values(mask: Mask) -> set[Value]:
    if isinstance(mask, list):
        return {label for label, *_ in mask}
    return {value for _, value in mask.getcolors(COLOURS)}


def _name(value: Value) -> str:
    if isinstance(value, tuple):
        return 'colour_{}_{}_{}'.format(*value)
    return value if isinstance(value, str) else f'class_{value}'


def class_colour(number: int) -> tuple[int, int, int]:
    """Return a default RGB colour for a class; the colours repeat after 20 classes."""
    return tuple(round(255 * x) for x in colormaps['tab20'](number % 20)[:3])


def _read_table(file: Path) -> dict[Value, str]:
    reader = csv.DictReader(read_text(file).splitlines(), skipinitialspace=True)
    reader.fieldnames = [name.lower().strip() for name in reader.fieldnames or ()]
    columns = {*reader.fieldnames}
    if columns != {'name'} and not any({'name', *key} <= columns for key in (['id'], 'rgb')):
        found = ', '.join(reader.fieldnames)
        raise UserError(f'--classes: {file} has the columns {found}; write name,r,g,b or name,id')
    names: dict[Value, str] = {}
    for row in reader:
        where = f'--classes: {file}, line {reader.line_num}'
        if not row['name']:
            raise UserError(f'{where}: has no name')
        columns = 'rgb' if {'r', 'g', 'b'} <= row.keys() else ['id'] if 'id' in row else ''
        try:
            numbers = tuple(int(row[column]) for column in columns)
        except (TypeError, ValueError):
            numbers = (-1,)
        if not all(0 <= number <= 255 for number in numbers):
            raise UserError(f'{where}: r, g and b, or id, must be whole numbers from 0 to 255')
        value = numbers if len(numbers) == 3 else numbers[0] if numbers else row['name']
        if names.setdefault(value, row['name']) != row['name']:
            raise UserError(f'{where}: {value} is {names[value]} in an earlier line; remove one')
    return names
