"""Turn a folder of images and masks into a data set with configs that train at once.

python tools/dataset_converters/custom.py SRC DEST [--classes FILE.csv] [--images DIR] [--masks DIR]
                                          [--split 70 15 15] [--seed 0]

Masks may contain class ids, palettes, 0 and 255, or RGB colours, or be LabelMe's JSON files.
"""

import argparse
from pathlib import Path

from mmseg_kd.command_line import at_least, run_tool
from mmseg_kd.datasets.custom.configs import write_configs
from mmseg_kd.datasets.custom.converting import write_dataset
from mmseg_kd.datasets.custom.masks import find_legend
from mmseg_kd.datasets.custom.pairs import find_pairs, split_pairs
from mmseg_kd.errors import UserError
from mmseg_kd.paths import check_new_folder, new_folder, quoted

from prettytable import PrettyTable

BASES = Path(__file__).resolve().parents[2] / 'local_configs' / '_base_'


def main() -> None:
    """Convert, and print what the data set holds."""
    parser = argparse.ArgumentParser(description='Make a data set of images and masks')
    add = parser.add_argument
    add('src', help='a folder with a subfolder of images and one of masks')
    add('dest', help='a new folder')
    add('--images', metavar='DIR', help='the subfolder of images')
    add('--masks', metavar='DIR', help='the subfolder of masks')
    add('--classes', type=Path, metavar='FILE.csv', help='lines of name,r,g,b or name,id')
    names = ('TRAIN', 'VAL', 'TEST')
    add('--split', type=at_least(0), nargs=3, default=[70, 15, 15], metavar=names, help='shares')
    add('--seed', type=at_least(0), default=0, help='random seed of the split')
    args = parser.parse_args()
    dest = Path(args.dest)
    check_new_folder(args.dest, 'DEST')
    if not all(args.split[:2]):
        raise UserError('--split: train and val need a share; write for example 80 20 0')
    pairs, *left_out = find_pairs(Path(args.src), args.images, args.masks)
    splits = split_pairs(pairs, args.split, args.seed)
    legend = find_legend(pairs, args.classes)
    with new_folder(dest, 'DEST') as folder:
        counts = write_dataset(splits, legend, folder)
        names = write_configs(folder, dest, BASES, legend, counts, tested=bool(splits['test']))
    for kind, alone in zip(('images', 'masks'), left_out, strict=True):
        if alone:
            print(f'{kind} without a partner, left out: {len(alone)} ({alone[0].name}, ...)')
    shares = 100 * counts.pixels.sum(0) / counts.pixels.sum()
    table = PrettyTable(['id', 'class', 'pixels', 'median-frequency weight'], align='l')
    for i, (name, weight) in enumerate(zip(legend.names, counts.weights(), strict=True)):
        table.add_row([i, name, f'{shares[i]:.2f} %', weight])
    table.add_row([255, 'ignored', f'{shares[-1]:.2f} %', ''])
    print(table)
    if absent := [name for name, share in zip(legend.names, shares, strict=False) if share == 0]:
        print(f'no mask has {", ".join(absent)}: look at the names, ids or colours in --classes')
    print(', '.join(f'{split}: {len(found)} images' for split, found in splits.items()))
    for name in names:
        print(f'python tools/train.py {quoted((dest / name).as_posix())}')


if __name__ == '__main__':
    run_tool(main)
