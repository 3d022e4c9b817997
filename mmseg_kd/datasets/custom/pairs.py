"""Find images and their masks in a folder, and split them."""

import random
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mmseg_kd.datasets.listing import SUFFIXES, images_in
from mmseg_kd.errors import UserError

# Names of folders in lower case.
IMAGE_FOLDERS = ('images', 'image', 'imgs', 'img', 'jpegimages', 'photos', 'rgb')
MASK_FOLDERS = ('masks', 'mask', 'labels', 'label', 'annotations', 'segmentationclass', 'gt')
# What may follow the image's name in the name of its mask.
ENDINGS = ('', '_mask', '-mask', '_masks', '_label', '_labels', '_gt', '_seg', '_l', '_p')
SPLITS = ('train', 'val', 'test')
# Splits by the names of their folders, in lower case.
SPLIT_FOLDERS = {split: split for split in SPLITS}
SPLIT_FOLDERS |= dict(training='train', valid='val', validation='val', testing='test')


class Pair(NamedTuple):
    """An image and its mask; `name` is the image's path below its folder."""

    name: Path
    image: Path
    mask: Path


# Pairs, images without a mask and masks without an image.
Found = tuple[list[Pair], list[Path], list[Path]]


def find_pairs(src: Path, images: str | None = None, masks: str | None = None) -> Found:
    """Pair the images of a folder with their masks.

    Args:
        src: The folder.
        images: Its subfolder of images; by default found by its name (`images`, `photos`, ...).
        masks: Its subfolder of masks (`masks`, `labels`, ...). LabelMe's JSON files may lie next to
            the images.

    Returns:
        As `pair_up`.

    Raises:
        UserError: A folder is missing, or there is no pair.
    """
    if not src.is_dir():
        raise UserError(f'SRC: {src} is not a folder')
    image_folder = _folder(src, images, IMAGE_FOLDERS, '--images')
    mask_folder = _folder(src, masks, MASK_FOLDERS, '--masks', image_folder)
    pairs = pair_up(image_folder, mask_folder)
    if not pairs[0]:
        raise UserError(
            f'{src}: no mask in {mask_folder} has the name of an image in {image_folder}, alone or '
            f'with {", ".join(ENDINGS[1:])} after it; rename them, or name the subfolders with '
            '--images and --masks (train, val and test belong inside these)'
        )
    return pairs


def pair_up(image_folder: Path, mask_folder: Path, suffixes: tuple[str, ...] = SUFFIXES) -> Found:
    """Pair images with masks by name; ignore upper and lower case, and suffixes.

    Args:
        image_folder: The images.
        mask_folder: The masks.
        suffixes: The suffixes of images.

    Returns:
        The pairs, the images without a mask and the masks without an image.

    Raises:
        UserError: The names of two images differ in capitals or suffix alone.
    """
    names: dict[str, Path] = {}
    nested = image_folder in mask_folder.parents
    for path in images_in(image_folder, suffixes):
        if nested and mask_folder in path.parents:
            continue
        other = names.setdefault(_key(path, image_folder), path)
        if other != path:
            raise UserError(f'{other} and {path.name} differ in case or suffix alone; rename one')
    of_masks = ('.json',) if mask_folder == image_folder else (*suffixes, '.json')
    labels = {_key(path, mask_folder): path for path in images_in(mask_folder, of_masks)}
    ending = max(ENDINGS, key=lambda end: sum(f'{name}{end}' in labels for name in names))
    found, alone = [], []
    for name, path in names.items():
        if mask := labels.pop(f'{name}{ending}', None):
            found.append(Pair(path.relative_to(image_folder), path, mask))
        else:
            alone.append(path)
    return found, alone, list(labels.values())


def _folder(
    src: Path, name: str | None, usual: tuple[str, ...], option: str, default: Path | None = None
) -> Path:
    if name is not None:
        if not (src / name).is_dir():
            raise UserError(f'{option}: {src / name} is not a folder')
        return src / name
    found = [path for path in src.iterdir() if path.is_dir() and path.name.lower() in usual]
    if len(found) > 1:
        raise UserError(f'{src}: holds {found[0].name} and {found[1].name}; name one with {option}')
    return found[0] if found else default or src


def _key(path: Path, folder: Path) -> str:
    # macOS stores Hangul in separate letters (NFD), Windows in syllables (NFC).
    return unicodedata.normalize('NFC', path.relative_to(folder).with_suffix('').as_posix().lower())


def split_pairs(pairs: list[Pair], shares: Sequence[int], seed: int) -> dict[str, list[Pair]]:
    """Split pairs into train, val and test.

    Subfolders in `SPLIT_FOLDERS` keep their split. Otherwise equal names and seeds give equal
    splits, and each split with a share has an image.

    Args:
        pairs: The pairs.
        shares: Parts of train, val and test; they need not sum to 100.
        seed: The seed of the shuffling.

    Raises:
        UserError: There are fewer pairs than splits, or only some pairs are in such subfolders.
    """
    folders = [SPLIT_FOLDERS.get(pair.name.parts[0].lower()) for pair in pairs]
    if {'train', 'val'} <= set(folders) <= {*SPLITS}:
        return {s: [p for p, f in zip(pairs, folders, strict=True) if f == s] for s in SPLITS}
    if named := {pair.name.parts[0] for pair, split in zip(pairs, folders, strict=True) if split}:
        raise UserError(
            f'the images are in {", ".join(sorted(named))} and elsewhere: put all of them into '
            'train, val and test (test may be missing), or rename these folders to split at random'
        )
    wanted = sum(share > 0 for share in shares)
    if len(pairs) < wanted:
        raise UserError(f'{len(pairs)} pairs of image and mask are too few for {wanted} splits')
    order = sorted(pairs, key=lambda pair: pair.name.as_posix())
    random.Random(seed).shuffle(order)
    counts = [max(round(len(order) * share / sum(shares)), share > 0) for share in shares]
    while (excess := sum(counts) - len(order)) != 0:
        # The rounded counts do not add up; the largest split gives or takes an image.
        counts[counts.index(max(counts))] -= 1 if excess > 0 else -1
    train, val, _ = counts
    return dict(train=order[:train], val=order[train : train + val], test=order[train + val :])
