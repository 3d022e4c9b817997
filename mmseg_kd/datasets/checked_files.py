"""Report unusable images and masks in one line.

mmseg's data sets and loading steps pass on the errors of other libraries. Some mistakes raise no
error at all: a truncated JPEG is half grey, a 16-bit mask loses its high byte.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations
from PIL import ExifTags, Image, PngImagePlugin

from mmseg_kd.datasets.wrappers import walk
from mmseg_kd.errors import UserError, one_line

# Errors of PIL for a file that is not an image, or not a whole one.
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
MASK_MODES = ('1', 'L', 'P')
WIDE_MODES = ('I', 'F')
# How to turn an array for each value of the EXIF tag, as viewers and OpenCV do.
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
    """Return the picture's EXIF orientation; 1 is upright."""
    # The method of a PNG decodes the picture, to read what follows it.
    return Image.Image.getexif(picture).get(ExifTags.Base.Orientation, 1)


def check_sizes(results: dict, image: Sequence[int], mask: Sequence[int]) -> None:
    """Check that an image and its mask have the same size.

    Args:
        results: The sample, with the paths of both.
        image: Height and width of the image.
        mask: Height and width of the mask.

    Raises:
        UserError: They differ.
    """
    if tuple(image[:2]) == tuple(mask):
        return
    advice = 'both must have one size'
    if tuple(image[:2]) == tuple(mask)[::-1]:
        advice = (
            'if the photo has an EXIF orientation, which is applied, and the mask is drawn on the '
            "photo as stored, write dict(type='LoadImageFromFile', color_type="
            "'color_ignore_orientation')"
        )
    raise UserError(
        f'{results.get("seg_map_path", "a mask")}: the mask is {_size(mask)}, but its image '
        f'{results.get("img_path", "")} is {_size(image)}; {advice}'
    )


def _size(shape: Sequence[int]) -> str:
    return f'{shape[1]}x{shape[0]}' if len(shape) > 1 else f'of shape {tuple(shape)}'


def guard(dataset: Any) -> None:
    """Check the files that a data set loads, also inside wrappers.

    The first time a process reads a file, all of it is checked; later only the sizes are.
    """
    for _, inner in walk(dataset):
        if isinstance(inner, BaseSegDataset) and not checks_itself(type(inner)):
            steps = inner.pipeline.transforms
            turned = any(
                isinstance(step, LoadImageFromFile) and step.color_type in ('color', 'grayscale')
                for step in steps
            )
            inner.pipeline.transforms = [_checked(step, turned) for step in steps]


def _checked(step: Callable, turned: bool) -> Callable:
    if isinstance(step, LoadAnnotations):
        return CheckedMask(step, turned)
    if isinstance(step, LoadImageFromFile):
        return CheckedImage(step)
    # Test-time augmentation loads the masks in its branches.
    for branch in getattr(step, 'subroutines', ()):
        branch.transforms = [_checked(inner, turned) for inner in branch.transforms]
    return step


def checks_itself(cls: type) -> bool:
    """Whether a data set is one of the project's, or derived from one: these check their files."""
    return any(base.__module__.startswith('mmseg_kd.') for base in cls.__mro__)


class CheckedImage(BaseTransform):
    """A loading step whose errors name the file.

    Args:
        step: mmcv's step.
    """

    key = 'img_path'

    def __init__(self, step: BaseTransform) -> None:
        self.step = step
        self._seen: dict[str, int] = {}

    def transform(self, results: dict) -> dict | None:
        """Run the step.

        Raises:
            UserError: The file is missing, empty, truncated or not an image.
        """
        path = results[self.key]
        if path not in self._seen:
            self._seen[path] = self._check_once(path)
        try:
            return self.step(results)
        except Exception as error:
            reason = one_line(error, 200)
            raise UserError(f'{path}: cannot be read ({type(error).__name__}: {reason})') from error

    def _check_once(self, path: str) -> int:
        """Check a file and return its EXIF orientation."""
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
        # A JPEG of reduced size is decoded faster, and to its end.
        picture.draft(None, (max(picture.width // 8, 1), max(picture.height // 8, 1)))
        picture.load()


class CheckedMask(CheckedImage):
    """A loading step of a mask that also checks for one channel of class ids.

    Args:
        step: mmseg's step.
        turned: Whether images are turned by their EXIF orientation; then masks are turned too.
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
            wrong = values[(values < 0) | (values > 255) | (values % 1 != 0)]
            if wrong.size:
                raise UserError(_not_ids(path, f'the value {wrong[0]}'))
        elif picture.mode not in MASK_MODES:
            channels = len(picture.getbands())
            raise UserError(_not_ids(path, f'{channels} channels ({picture.mode})'))


def too_large(path: str | Path) -> UserError:
    """Return the error for an image that PIL refuses to decode."""
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
    """Check that a path is a file with content.

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


def read_png_header(path: Path) -> tuple[str, tuple[int, int]]:
    """Check the checksums of a PNG and return its Pillow mode and its (width, height).

    Raises:
        UserError: The file cannot be read, is not a PNG, or is damaged.
    """
    problem = 'not a PNG file'
    try:
        # Without the limit of `Image.open`, because nothing is decoded here.
        with PngImagePlugin.PngImageFile(path) as picture:
            header = picture.mode, picture.size
            problem = 'truncated or damaged'
            picture.verify()
            return header
    except UNREADABLE as error:
        if reason := getattr(error, 'strerror', None):
            problem = f'cannot be read ({reason})'
        raise UserError(f'{path}: {problem}; replace it by an intact copy') from None
