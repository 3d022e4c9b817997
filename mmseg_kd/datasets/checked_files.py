"""Report unusable images and masks in one line.

mmseg's data sets and loading steps pass on the errors of other libraries. Some mistakes raise no
error at all: a truncated JPEG is half grey, a 16-bit mask loses its high byte.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations
from PIL import ExifTags, Image, ImageOps

from mmseg_kd.datasets.wrappers import walk
from mmseg_kd.errors import UserError

ORIENTATION = ExifTags.Base.Orientation


class MaskRule(NamedTuple):
    """The ids that a mask may hold, and the end of the message "a mask is ..."."""

    greatest: int
    text: str


ANY_IDS = MaskRule(
    255,
    'one channel of 8 bits that holds the class id of each pixel, 255 where no class is meant; '
    'convert it',
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


@contextmanager
def open_image(path: str | Path) -> Iterator[Image.Image]:
    """Open an image; its errors, also those of the block that decodes it, are one line.

    Raises:
        UserError: The file is missing, empty, truncated, damaged or not an image.
    """
    check_file(path)
    try:
        with Image.open(path) as picture:
            # The checksums of a PNG, without decoding it; other formats have none.
            picture.verify()
        with Image.open(path) as picture:
            yield picture
    except Image.DecompressionBombError:
        raise UserError(
            f'{path}: has more than {2 * Image.MAX_IMAGE_PIXELS:,} pixels; cut it into tiles, or '
            'replace it if that is not its size'
        ) from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise UserError(
            f'{path}: is not an image or not a whole one ({error}); replace it by an intact '
            'copy or remove it'
        ) from None


def ids_of(picture: Image.Image, path: str | Path, rule: MaskRule = ANY_IDS) -> np.ndarray:
    """Return the class ids (H, W) of an open mask.

    Raises:
        UserError: The mask has several channels, or values that the rule does not allow.
    """
    found = f'{len(picture.getbands())} channels ({picture.mode})'
    if len(picture.getbands()) == 1:
        values = np.array(picture)
        wrong = values[(values < 0) | (values > rule.greatest) | (values % 1 != 0)]
        if not wrong.size:
            return values
        found = f'the value {wrong.max()}'
    raise UserError(f'{path}: a mask with {found}, but a mask is {rule.text}')


def check_sizes(results: dict, image: Sequence[int], mask: Sequence[int]) -> None:
    """Check that an image and its mask have the same size.

    Args:
        results: The sample, with the paths of both.
        image: Height and width of the image.
        mask: Height and width of the mask.

    Raises:
        UserError: They differ.
    """
    image, mask = tuple(image[:2]), tuple(mask)
    if image == mask:
        return
    advice = 'both must have one size'
    if image == mask[::-1]:
        advice = (
            'if the photo has an EXIF orientation, which is applied, and the mask is drawn on the '
            "photo as stored, write dict(type='LoadImageFromFile', color_type="
            "'color_ignore_orientation')"
        )
    sizes = ['x'.join(map(str, shape[1::-1] + shape[2:])) for shape in (mask, image)]
    raise UserError(
        f'{results.get("seg_map_path", "a mask")}: the mask is {sizes[0]}, but its image '
        f'{results.get("img_path", "")} is {sizes[1]}; {advice}'
    )


def guard(dataset: Any) -> None:
    """Check the files that a data set loads, also inside wrappers.

    The first time a process reads a file, all of it is checked; later only the sizes are. A data
    set can have its own `mask_rule`.
    """
    for _, inner in walk(dataset):
        if isinstance(inner, BaseSegDataset):
            steps = inner.pipeline.transforms
            turned = any(
                isinstance(step, LoadImageFromFile) and step.color_type in ('color', 'grayscale')
                for step in steps
            )
            rule = getattr(inner, 'mask_rule', ANY_IDS)
            inner.pipeline.transforms = [_checked(step, turned, rule) for step in steps]


def _checked(step: Callable, turned: bool, rule: MaskRule) -> Callable:
    if isinstance(step, LoadAnnotations):
        return CheckedMask(step, turned, rule)
    if isinstance(step, LoadImageFromFile) and step.imdecode_backend != 'tifffile':
        return CheckedImage(step)
    # Test-time augmentation loads the masks in its branches.
    for branch in getattr(step, 'subroutines', ()):
        branch.transforms = [_checked(inner, turned, rule) for inner in branch.transforms]
    return step


class CheckedImage(BaseTransform):
    """A loading step that checks a file before it reads it for the first time.

    Args:
        step: mmcv's step.
    """

    key = 'img_path'

    def __init__(self, step: BaseTransform) -> None:
        self.step = step
        self.orientations: dict[str, int] = {}

    def transform(self, results: dict) -> dict | None:
        """Run the step.

        Raises:
            UserError: The file is missing, empty, truncated or not an image.
        """
        path = results[self.key]
        if path not in self.orientations:
            with open_image(path) as picture:
                self.check(picture, path)
                # The method of a PNG decodes the picture, to read what follows it.
                exif = Image.Image.getexif(picture)
                self.orientations[path] = exif.get(ORIENTATION, 1)
        return self.step(results)

    def check(self, picture: Image.Image, path: str) -> None:
        """Decode an image of a format without checksums."""
        if picture.format != 'PNG':
            # A JPEG of reduced size is decoded faster, and to its end.
            picture.draft(None, (max(picture.width // 8, 1), max(picture.height // 8, 1)))
            picture.load()


class CheckedMask(CheckedImage):
    """A loading step of a mask that also checks for one channel of class ids.

    Args:
        step: mmseg's step.
        turned: Whether images are turned by their EXIF orientation; then masks are turned too.
        rule: The ids that a mask may hold.
    """

    key = 'seg_map_path'

    def __init__(self, step: BaseTransform, turned: bool, rule: MaskRule) -> None:
        super().__init__(step)
        self.turned, self.rule = turned, rule

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
        shape = results.get('ori_shape', labels.shape)
        if labels.ndim < 2 and labels.size == np.prod(shape):
            # mmseg squeezes a mask of one row or column.
            labels = labels.reshape(shape)
        orientation = self.orientations[results[self.key]]
        if self.turned and orientation > 1:
            picture = Image.fromarray(labels)
            picture.getexif()[ORIENTATION] = orientation
            labels = np.array(ImageOps.exif_transpose(picture))
        results['gt_seg_map'] = labels
        check_sizes(results, shape, labels.shape)
        return results

    def check(self, picture: Image.Image, path: str) -> None:
        """Check channels and values."""
        ids_of(picture, path, self.rule)
