"""Draw what runs logged: metrics, losses, learning rate.

python tools/analysis_tools/analyze_logs.py WORK_DIR_OR_SCALARS_JSON ... [--keys mIoU loss]
                                            [--legend NAME ...] --out FILE.png
"""

import argparse
from pathlib import Path

from mmseg_kd.command_line import run_tool
from mmseg_kd.errors import UserError, unknown
from mmseg_kd.paths import check_new_file
from mmseg_kd.records.scalars import read_curves
from mmseg_kd.visualization.canvas import canvas
from mmseg_kd.visualization.curves_figure import draw_curves


def main() -> None:
    """Draw the curves."""
    parser = argparse.ArgumentParser(description='Draw the curves of runs')
    add = parser.add_argument
    add('json_logs', nargs='+', type=Path, help='work_dirs, or scalars.json files of runs')
    add('--keys', nargs='+', default=['mIoU'], help='the keys to draw, one panel each')
    add('--legend', nargs='+', help='a name for each log (default: its path)')
    add('--out', type=Path, required=True, help='the picture file')
    args = parser.parse_args()
    check_new_file(args.out, '--out')
    logs = args.json_logs
    labels = args.legend or [log.as_posix() for log in logs]
    if len(labels) != len(logs):
        raise UserError(f'--legend: {len(labels)} names for {len(logs)} logs; write one for each')
    runs = [read_curves(log) for log in logs]
    known = list(dict.fromkeys(name for run in runs for name in run))
    for key, hint in unknown(args.keys, known, 'no run logged it;'):
        raise UserError(f'--keys: unknown key {key!r}: {hint} the keys are {", ".join(known)}')
    with canvas(args.out, dpi=120) as figure:
        formats = figure.canvas.get_supported_filetypes()
        if args.out.suffix[1:].lower() not in formats:
            raise UserError(f'--out: {args.out} does not end in one of .{", .".join(formats)}')
        draw_curves(figure, runs, args.keys, labels)
    print(f'curves: {args.out}')


if __name__ == '__main__':
    run_tool(main)
