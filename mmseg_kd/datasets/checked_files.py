"""Report unusable images, masks and text files in one line.

mmseg's data sets and loading steps pass on the errors of other libraries. Some mistakes raise no
error at all: a truncated JPEG is half grey, a 16-bit mask loses its high byte.
"""

import codecs
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmseg.datasets.transforms import LoadAnnotations
from PIL import ExifTags, Image, ImageOps

from mmseg_kd.errors import UserError, user_errors
from mmseg_kd.registry import REGISTRIES

TRANSFORMS = REGISTRIES['TRANSFORMS']
ORIENTATION = ExifTags.Base.Orientation
# Pillow refuses images of twice as many pixels; OpenCV reads no larger ones either.
Image.MAX_IMAGE_PIXELS = 2**29


class MaskRule(NamedTuple):
    """The requirements on a mask.

    Attributes:
        greatest: The largest id.
        text: The end of the error message "... but a mask is ...".
        modes: Pillow's modes, separated by spaces; empty allows all with one channel.
    """

    greatest: int
    text: str
    modes: str = ''


ANY_IDS = MaskRule(
    255, 'one channel of 8 bits with the class id of each pixel, 255 for ignored ones; convert it'
)


def check_file(path: str | Path, missing: str = '') -> None:
    """Check that a path is a file with content.

    Args:
        path: The path.
        missing: The message if nothing is there; by default it is that of the system.

    Raises:
        UserError: It is missing, empty, a folder or a pipe.
    """
    try:
        found = Path(path).stat()
    except OSError as error:
        problem = missing if isinstance(error, FileNotFoundError | NotADirectoryError) else ''
        raise UserError(problem or f'{path}: {error.strerror}; restore the file') from None
    if not stat.S_ISREG(found.st_mode):
        raise UserError(f'{path}: is not a file; remove it')
    if not found.st_size:
        raise UserError(f'{path}: is empty; replace it by an intact copy or remove it')


def read_text(path: str | Path) -> str:
    """Read UTF-8 with or without BOM, UTF-16 with BOM, or the Korean cp949.

    PowerShell 5 (`>`) and Excel ("Unicode text") write UTF-16. On a Korean Windows, Excel and
    Notepad ("ANSI") write cp949.

    Raises:
        UserError: The file cannot be opened, or has another encoding.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f'{path} cannot be read: {error.strerror}') from error
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    for encoding in ('utf-16',) if marked else ('utf-8-sig', 'cp949'):
        with suppress(UnicodeDecodeError):
            return content.decode(encoding)
    raise UserError(f'{path} cannot be read as text; save it as UTF-8')


@contextmanager
def open_image(path: str | Path) -> Iterator[Image.Image]:
    """Open an image; report errors in one line, also those of the block that decodes it.

    Raises:
        UserError: The file is missing, empty, truncated, damaged or not an image.
    """
    check_file(path)
    broken = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
    advice = '); replace it by an intact copy or remove it'
    with user_errors(f'{path}: is not an image or not a whole one (', *broken, after=advice):
        with Image.open(path) as picture:
            # Checks the checksums of a PNG without decoding it; other formats have none.
            picture.verify()
        with Image.open(path) as picture:
            yield picture


def check_image(path: str | Path) -> None:
    """Raise UserError if a file is not a whole image, as `open_image`."""
    with open_image(path) as picture:
        if picture.format != 'PNG':
            # Decoding a JPEG at reduced size is faster and still reads the whole file.
            picture.draft(None, (max(picture.width // 8, 1), max(picture.height // 8, 1)))
            picture.load()


def ids_of(picture: Image.Image, path: str | Path, rule: MaskRule = ANY_IDS) -> np.ndarray:
    """Return the class ids (H, W) of an open mask.

    Raises:
        UserError: The mask has several channels, or values that the rule does not allow.
    """
    channels = len(picture.getbands())
    found = f'{channels} channels ({picture.mode})' if channels > 1 else f'mode {picture.mode}'
    if picture.mode in rule.modes.split() or (channels == 1 and not rule.modes):
        values = np.array(picture)
        wrong = values[(values < 0) | (values > rule.greatest) | (values % 1 != 0)]
        if not wrong.size:
            return values
        found = f'the value {wrong.max()}'
    raise UserError(f'{path}: a mask with {found}, but a mask is {rule.text}')


def turn(labels: np.ndarray, orientation: int) -> np.ndarray:
    """Rotate labels (H, W) by an EXIF orientation."""
    picture = Image.fromarray(labels)
    picture.getexif()[ORIENTATION] = orientation
    return np.array(ImageOps.exif_transpose(picture))


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
            "'color_ignore_orientation') in the pipeline; otherwise turn one of them"
        )
    sizes = ['x'.join(map(str, shape[1::-1] + shape[2:])) for shape in (mask, image)]
    raise UserError(
        f'{results.get("seg_map_path", "a mask")}: the mask is {sizes[0]}, but its image '
        f'{results.get("img_path", "")} is {sizes[1]}; {advice}'
    )


@TRANSFORMS.register_module(name='LoadImageFromFile')
class LoadCheckedImage(LoadImageFromFile):
    """mmcv's loading step; it checks each file before the first read."""

    @cached_property
    def checked(self) -> set[str]:
        """Files that this process has checked."""
        return set()

    def transform(self, results: dict) -> dict | None:
        """Add `img` (H, W, 3).

        Raises:
            UserError: The file is missing, empty, truncated or not an image.
        """
        path = results['img_path']
        if path not in self.checked and self.imdecode_backend != 'tifffile':
            check_image(path)
            self.checked.add(path)
        # LoadCheckedMask applies the EXIF orientation if the image step does.
        results['turned'] = self.color_type in ('color', 'grayscale')
        try:
            return super().transform(results)
        except AssertionError as error:
            raise UserError(f'{path}: OpenCV cannot read it; save 8 bits per channel') from error


@TRANSFORMS.register_module(name='LoadAnnotations')
class LoadCheckedMask(LoadAnnotations):
    """mmseg's loading step, which also checks for one channel of class ids.

    A data set can write its own `mask_rule` into its samples.
    """

    @cached_property
    def orientations(self) -> dict[str, int]:
        """EXIF orientations of the masks that this process has checked; 1 is upright."""
        return {}

    def transform(self, results: dict) -> dict:
        """Add `gt_seg_map` (H, W).

        Raises:
            UserError: The mask is missing, not one channel of 8 bits, or not of its image's size.
        """
        path = results.get('seg_map_path')
        if path is None:
            image = results.get('img_path')
            raise UserError(f'{image}: has no mask; write data_prefix=dict(..., seg_map_path=...)')
        if path not in self.orientations:
            with open_image(path) as picture:
                ids_of(picture, path, results.get('mask_rule', ANY_IDS))
                self.orientations[path] = picture.getexif().get(ORIENTATION, 1)
        results = super().transform(results)
        labels = results['gt_seg_map']
        shape = results.get('ori_shape', labels.shape)
        if labels.ndim < 2 and labels.size == np.prod(shape):
            # mmseg squeezes a mask of one row or column.
            labels = labels.reshape(shape)
        if results.pop('turned', False) and self.orientations[path] > 1:
            labels = turn(labels, self.orientations[path])
        results['gt_seg_map'] = labels
        check_sizes(results, shape, labels.shape)
        return results
