"""Check that a data set of images and masks finds its files, before it is built."""

import copy
import logging
from pathlib import Path

from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from mmseg_kd.datasets.checked_files import check_file
from mmseg_kd.errors import UserError
from mmseg_kd.nested import walk

SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')


def check_listing(dataset: dict, where: str) -> None:
    """Check the files of a data set, if it lists them as `BaseSegDataset` does.

    Args:
        dataset: The data set's config; data sets in wrappers are checked too.
        where: Its key, for the messages.

    Raises:
        UserError: A folder, list, image or mask is missing, there is no image, or the classes have
            no names.
    """
    for key, inner in walk(dataset, where):
        if (listing := _listing(inner)) is not None:
            _check(listing, key, masks='LoadAnnotations' in repr(inner.get('pipeline')))


def _listing(dataset: dict) -> BaseSegDataset | None:
    """Build a data set without listing its files; return None if it cannot be checked."""
    kind = dataset.get('type')
    cls = DATASETS.get(kind) if isinstance(kind, str) else kind
    if getattr(cls, 'load_data_list', None) is not BaseSegDataset.load_data_list:
        return None
    try:
        listing = DATASETS.build(copy.deepcopy(dict(dataset)) | dict(lazy_init=True, pipeline=[]))
    except TypeError:
        # A class of the user may lack these arguments. Mistakes are reported when it is built.
        return None
    return None if listing.backend_args else listing


def _check(listing: BaseSegDataset, where: str, masks: bool) -> None:
    if not listing.metainfo.get('classes'):
        raise UserError(f'{where}.metainfo: has no classes; write dict(classes=(...), palette=...)')
    if listing.data_prefix.get('img_path') is None:
        keys = ', '.join(listing.data_prefix) or 'no key'
        raise UserError(f'{where}.data_prefix: has {keys}, but not img_path, the folder of images')
    for key in ('img_path', 'seg_map_path'):
        folder = listing.data_prefix.get(key)
        if folder is not None and not Path(folder).is_dir():
            raise UserError(f'{where}.data_prefix.{key}: {folder or "."} is not a folder')
    listed = bool(listing.ann_file) and not Path(listing.ann_file).is_dir()
    if listed:
        _check_list(Path(listing.ann_file), where)
    found = listing.load_data_list()
    if not listed:
        _check_suffix(listing, where, {Path(item['img_path']) for item in found})
    for item in found:
        image, mask = item['img_path'], item.get('seg_map_path')
        change = f'{where}.img_suffix={listing.img_suffix!r}'
        check_file(image, f'{image} does not exist; restore it, or change {change}')
        if masks and mask is not None:
            check_file(
                mask,
                f'{image}: has no mask, {mask} is missing; restore it, remove the image, or '
                f'change {where}.seg_map_suffix={listing.seg_map_suffix!r}',
            )


def images_in(folder: Path, suffixes: tuple[str, ...] = SUFFIXES) -> list[Path]:
    """List the files of a folder and its subfolders by suffix, without hidden ones."""
    return [
        path
        for path in sorted(folder.rglob('*'))
        if path.suffix.lower() in suffixes
        and not any(part.startswith('.') for part in path.relative_to(folder).parts)
    ]


def _check_list(names: Path, where: str) -> None:
    if not names.is_file():
        raise UserError(f'{where}.ann_file: {names} does not exist; write the path of a list')
    try:
        lines = names.read_text(encoding='utf-8').splitlines()
    except UnicodeDecodeError:
        raise UserError(f'{names}: is not UTF-8 text; save the list as UTF-8') from None
    if not lines:
        raise UserError(f'{names}: lists no image; write a name in each line')
    if lines[0].startswith('\ufeff'):
        raise UserError(f'{names}: begins with a byte order mark; save it as UTF-8 without BOM')
    for number, line in enumerate(lines, 1):
        if not line.strip():
            raise UserError(f'{names}, line {number}: is blank; remove the line')


def _check_suffix(listing: BaseSegDataset, where: str, found: set[Path]) -> None:
    """Report images that `img_suffix` leaves out."""
    folder = Path(listing.data_prefix['img_path'])
    masks = listing.data_prefix.get('seg_map_path')
    others = [path for path in images_in(folder) if path not in found]
    for path in others:
        if path.name.endswith(listing.img_suffix):
            # mmseg leaves out pipes and other special files.
            check_file(path)
    if masks is not None:
        # Masks may lie in the same folder, or in one below it.
        ending = listing.seg_map_suffix
        others = [p for p in others if not (p.is_relative_to(masks) and p.name.endswith(ending))]
    if not found:
        advice = ''
        if suffixes := sorted({path.suffix for path in others}):
            advice = f'; it holds {", ".join(suffixes)}: write {where}.img_suffix={suffixes[0]!r}'
        raise UserError(
            f'{where}: {folder} holds no image with img_suffix={listing.img_suffix!r}{advice}'
        )
    if others:
        print_log(
            f'{where}: {len(others)} images of {folder} are left out, because '
            f'img_suffix={listing.img_suffix!r} does not match them ({others[0].name}, ...)',
            logger='current',
            level=logging.WARNING,
        )
