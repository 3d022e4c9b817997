"""Write a checkpoint for others, with only the student's weights and classes.

python tools/misc/publish_model.py IN_FILE OUT_FILE.pth

The first 8 digits of the file's sha256 are added to its name: `student.pth` becomes
`student-1a2b3c4d.pth`.
"""

import argparse
from pathlib import Path

from mmseg_kd.checkpoints.publishing import publish
from mmseg_kd.command_line import run_tool


def main() -> None:
    """Write the file and print its name."""
    parser = argparse.ArgumentParser(description='Make a checkpoint for others')
    parser.add_argument('in_file', type=Path, help='the checkpoint')
    parser.add_argument('out_file', type=Path, help='the .pth to write')
    args = parser.parse_args()
    print(publish(args.in_file, args.out_file))


if __name__ == '__main__':
    run_tool(main)
