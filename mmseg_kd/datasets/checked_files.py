"""Files of a data set that are not what they should be, reported in one line.

mmseg's data sets and loading steps pass on whatever the libraries below raise, and some mistakes
raise nothing: a truncated JPEG is half grey, a 16-bit mask loses its high byte.
"""

from __future__ import annotations

import copy
import inspect
import logging
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import DATASETS
from PIL import ExifTags, Image

from mmseg_kd.errors import UserError

SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
# What PIL raises for a file that is no image, or not a whole one.
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
MASK_MODES = ('1', 'L', 'P')
WIDE_MODES = ('I', 'F')
# How an array is turned for each value of the EXIF tag, as viewers and OpenCV do.
TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: np.fliplr,
    3: lambda x: np.rot90(x, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda x: np.rot90(x, -1),
    7: lambda x: np.rot90(x, 2).T,
    8: np.rot90,
}
ON_ITS_SIDE = 5


def orientation(picture: Image.Image) -> int:
    """The picture's EXIF orientation; 1 is upright."""
    return picture.getexif().get(ExifTags.Base.Orientation, 1)


def check_sizes(results: dict, image: Sequence[int], mask: Sequence[int]) -> None:
    """Check that an image and its mask have one size.

    Args:
        results: The sample, with the paths of both.
        image: Height and width of the image.
        mask: Height and width of the mask.

    Raises:
        UserError: They differ.
    """
    if tuple(image[:2]) == tuple(mask):
        return
    turned = tuple(image[:2]) == tuple(mask)[::-1]
    advice = (
        'if the photo has an EXIF orientation, which is applied, and the mask is drawn on the '
        "photo as stored, write dict(type='LoadImageFromFile', color_type="
        "'color_ignore_orientation')"
        if turned
        else 'both must have one size'
    )
    raise UserError(
        f'{results.get("seg_map_path", "a mask")}: the mask is {_size(mask)}, but its image '
        f'{results.get("img_path", "")} is {_size(image)}; {advice}'
    )


def _size(shape: Sequence[int]) -> str:
    return f'{shape[1]}x{shape[0]}' if len(shape) > 1 else f'of shape {tuple(shape)}'


def guard(dataset: Any) -> None:
    """Check what the loading steps of a data set read, also of data sets in wrappers.

    The first time a process reads a file it is looked at whole; then only the sizes are compared.
    """
    for inner in [*getattr(dataset, 'datasets', ()), getattr(dataset, 'dataset', None)]:
        if inner is not None:
            guard(inner)
    transforms = getattr(getattr(dataset, 'pipeline', None), 'transforms', None)
    if not isinstance(dataset, BaseSegDataset) or transforms is None or _is_own(type(dataset)):
        return
    turned = any(
        isinstance(step, LoadImageFromFile) and step.color_type in ('color', 'grayscale')
        for step in transforms
    )
    dataset.pipeline.transforms = [_checked(step, turned) for step in transforms]


def _checked(step: Callable, turned: bool) -> Callable:
    if isinstance(step, LoadAnnotations):
        return CheckedMask(step, turned)
    if isinstance(step, LoadImageFromFile):
        return CheckedImage(step)
    # Test-time augmentation loads the masks inside of it.
    for branch in getattr(step, 'subroutines', ()):
        branch.transforms = [_checked(inner, turned) for inner in branch.transforms]
    return step


def _is_own(cls: type) -> bool:
    # The project's data sets, and what is derived from them, check their files themselves.
    return any(base.__module__.startswith('mmseg_kd.') for base in cls.__mro__)


class CheckedImage(BaseTransform):
    """A loading step that names a file which is no image.

    Args:
        step: The step.
    """

    key = 'img_path'

    def __init__(self, step: BaseTransform) -> None:
        self.step = step
        self._seen: dict[str, int] = {}

    def transform(self, results: dict) -> dict | None:
        """Run the step.

        Raises:
            UserError: The file is missing, empty, truncated or no image.
        """
        path = results[self.key]
        if path not in self._seen:
            self._seen[path] = self._look(path)
        try:
            return self.step(results)
        except Exception as error:
            reason = ' '.join(str(error).split())[:200]
            raise UserError(f'{path}: cannot be read ({type(error).__name__}: {reason})') from error

    def _look(self, path: str) -> int:
        """Look at a file for the first time and return its EXIF orientation."""
        check_file(path)
        if self.step.imdecode_backend == 'tifffile':
            return 1
        try:
            with Image.open(path) as picture:
                self._check(path, picture)
                return orientation(picture)
        except Image.DecompressionBombError:
            raise too_large(path) from None
        except UNREADABLE as error:
            raise UserError(
                f'{path}: is not an image or not a whole one ({error}); replace it by an intact '
                'copy or remove it'
            ) from None

    def _check(self, path: str, picture: Image.Image) -> None:
        # A reduced JPEG is decoded faster, and to its end.
        picture.draft(None, (max(picture.width // 8, 1), max(picture.height // 8, 1)))
        picture.load()


class CheckedMask(CheckedImage):
    """A loading step of a mask; it also checks that the mask holds one channel of class ids.

    Args:
        step: The step.
        turned: Whether images are turned as their EXIF orientation says; masks then are as well.
    """

    key = 'seg_map_path'

    def __init__(self, step: BaseTransform, turned: bool) -> None:
        super().__init__(step)
        self.turned = turned

    def transform(self, results: dict) -> dict | None:
        """Run the step.

        Raises:
            UserError: The mask is missing, not one channel of 8 bits, or not of its image's size.
        """
        if self.key not in results:
            raise UserError(
                f'{results.get("img_path")}: has no mask; write data_prefix=dict(img_path=..., '
                'seg_map_path=...), or leave LoadAnnotations out where nothing is compared'
            )
        results = super().transform(results)
        labels = results['gt_seg_map']
        if labels.ndim > 2:
            raise UserError(_not_ids(results[self.key], f'{labels.shape[2]} channels'))
        shape = results.get('ori_shape', labels.shape)
        if labels.ndim < 2 and labels.size == np.prod(shape):
            # mmseg squeezes a mask of one row or column.
            labels = labels.reshape(shape)
        turn = TURNS.get(self._seen[results[self.key]]) if self.turned else None
        results['gt_seg_map'] = labels if turn is None else np.ascontiguousarray(turn(labels))
        check_sizes(results, shape, results['gt_seg_map'].shape)
        return results

    def _check(self, path: str, picture: Image.Image) -> None:
        picture.load()
        if picture.mode.startswith(WIDE_MODES):
            values = np.asarray(picture)
            if values.max() > 255 or values.min() < 0:
                wrong = values.max() if values.max() > 255 else values.min()
                raise UserError(_not_ids(path, f'the value {wrong}'))
        elif picture.mode not in MASK_MODES:
            channels = len(picture.getbands())
            raise UserError(_not_ids(path, f'{channels} channels ({picture.mode})'))


def too_large(path: str | Path) -> UserError:
    """The error for an image that PIL refuses to decode."""
    return UserError(
        f'{path}: has more than {2 * Image.MAX_IMAGE_PIXELS:,} pixels; cut it into tiles, or '
        'replace it if that is not its size'
    )


def _not_ids(path: str, found: str) -> str:
    return (
        f'{path}: a mask with {found}, but a mask is one channel of 8 bits that holds the class id '
        'of each pixel, 255 where no class is meant; convert it'
    )


def check_file(path: str | Path) -> None:
    """Check that a path is a file with something in it.

    Raises:
        UserError: It is missing, empty, a folder or a pipe.
    """
    try:
        found = Path(path).stat()
    except OSError as error:
        raise UserError(f'{path}: {error.strerror}; restore the file') from None
    if not stat.S_ISREG(found.st_mode):
        raise UserError(f'{path}: is not a file; remove it')
    if not found.st_size:
        raise UserError(f'{path}: is empty; replace it by an intact copy or remove it')


def check_listing(dataset: dict, where: str) -> None:
    """Check what a data set of images and masks would list, before it is built.

    Args:
        dataset: The data set's config; data sets in wrappers are checked as well.
        where: Its key, for the messages.

    Raises:
        UserError: A folder, list, image or mask is missing, or there is no image.
    """
    for key in ('dataset', 'datasets'):
        inner = dataset.get(key)
        for i, one in enumerate(inner if isinstance(inner, list | tuple) else [inner]):
            if isinstance(one, dict):
                number = f'.{i}' if isinstance(inner, list | tuple) else ''
                check_listing(one, f'{where}.{key}{number}')
    kind = dataset.get('type')
    cls = DATASETS.get(kind) if isinstance(kind, str) else kind
    if not inspect.isclass(cls) or not issubclass(cls, BaseSegDataset) or _is_own(cls):
        return
    try:
        listing = DATASETS.build(copy.deepcopy(dict(dataset)) | dict(lazy_init=True, pipeline=[]))
    except TypeError:
        # A data set of the user's own without these arguments, or a mistake that building it names.
        return
    if listing.backend_args:
        return
    _check_places(listing, where)
    found = listing.load_data_list()
    _check_suffix(listing, where, found)
    # At any depth: test-time augmentation has it inside of a step.
    masks = 'LoadAnnotations' in repr(dataset.get('pipeline'))
    for item in found:
        check_file(item['img_path'])
        if masks and 'seg_map_path' in item:
            _check_mask_exists(item, listing, where)


def _check_mask_exists(item: dict, listing: BaseSegDataset, where: str) -> None:
    if not Path(item['seg_map_path']).exists():
        raise UserError(
            f'{item["img_path"]}: has no mask, {item["seg_map_path"]} is missing; restore it, '
            f'remove the image, or change {where}.seg_map_suffix={listing.seg_map_suffix!r} and '
            'data_prefix.seg_map_path'
        )
    check_file(item['seg_map_path'])


def _check_places(listing: BaseSegDataset, where: str) -> None:
    """Check the folders of a data set and its list."""
    for key in ('img_path', 'seg_map_path'):
        folder = listing.data_prefix.get(key)
        if folder is not None and not Path(folder).is_dir():
            raise UserError(f'{where}.data_prefix.{key}: {folder or "."} is not a folder')
    names = Path(listing.ann_file)
    if not listing.ann_file or names.is_dir():
        return
    if not names.is_file():
        raise UserError(f'{where}.ann_file: {names} does not exist; write the path of a list')
    try:
        lines = names.read_text(encoding='utf-8').splitlines()
    except UnicodeDecodeError:
        raise UserError(f'{names}: is not UTF-8 text; save the list as UTF-8') from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            raise UserError(f'{names}, line {number}: is blank; remove the line')
        if line.startswith('\ufeff'):
            raise UserError(f'{names}: begins with a byte order mark; save it as UTF-8 without BOM')


def _check_suffix(listing: BaseSegDataset, where: str, found: list[dict]) -> None:
    """Report images that `img_suffix` leaves out."""
    if Path(listing.ann_file).is_file():
        if not found:
            raise UserError(f'{listing.ann_file}: lists no image; write a name in each line')
        return
    folder = Path(listing.data_prefix['img_path'])
    others = sorted(_other_images(listing, folder, {Path(item['img_path']) for item in found}))
    suffixes = sorted({path.suffix for path in others})
    if not found:
        there = f'; it holds {", ".join(suffixes)}: write ' if suffixes else ''
        advice = f'{where}.img_suffix={suffixes[0]!r}' if suffixes else ''
        raise UserError(
            f'{where}: {folder} holds no image with img_suffix={listing.img_suffix!r}'
            f'{there}{advice}'
        )
    if others:
        print_log(
            f'{where}: {len(others)} images of {folder} are left out, because '
            f'img_suffix={listing.img_suffix!r} does not match them ({others[0].name}, ...)',
            logger='current',
            level=logging.WARNING,
        )


def _other_images(listing: BaseSegDataset, folder: Path, found: set[Path]) -> Iterator[Path]:
    masks = listing.data_prefix.get('seg_map_path')
    for path in folder.rglob('*'):
        hidden = any(part.startswith('.') for part in path.relative_to(folder).parts)
        if path.suffix.lower() not in SUFFIXES or path in found or hidden:
            continue
        if path.name.endswith(listing.img_suffix):
            # A pipe, which mmseg leaves out as well.
            check_file(path)
        # Masks may lie in the same folder, or in one below it.
        of_masks = masks is not None and path.is_relative_to(masks)
        if not (of_masks and path.name.endswith(listing.seg_map_suffix)):
            yield path
