"""Draw what runs logged: metrics, losses, learning rate.

python tools/analysis_tools/analyze_logs.py WORK_DIR_OR_SCALARS_JSON ... [--keys mIoU loss]
                                            [--legend NAME ...] [--title T] [--out FILE.png]
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from mmseg_kd.checkpoints import atomic_path
from mmseg_kd.command_line import run_tool
from mmseg_kd.errors import UserError, did_you_mean
from mmseg_kd.paths import check_new_file
from mmseg_kd.records.scalars import Curve, read_curves
from mmseg_kd.visualization.curves_figure import draw_curves
from mmseg_kd.visualization.fonts import font_settings
from mmseg_kd.visualization.window import window_figure


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Draw the curves of runs')
    parser.add_argument(
        'json_logs', nargs='+', type=Path, help='work_dirs, or scalars.json files of runs'
    )
    parser.add_argument('--keys', nargs='+', default=['mIoU'], help='what to draw, one panel each')
    parser.add_argument('--title', help='title of the figure')
    parser.add_argument(
        '--legend', nargs='+', help='a name for each log, or for each log and each of its keys'
    )
    parser.add_argument('--backend', help="matplotlib's backend of the window")
    parser.add_argument('--style', help="one of matplotlib's styles, e.g. ggplot")
    parser.add_argument('--out', type=Path, help='a picture file; else a window shows the figure')
    return parser.parse_args()


def labels_of(legend: Sequence[str] | None, logs: Sequence[Path], keys: int) -> list[list[str]]:
    """The name of each log in each panel."""
    names = [_run_name(log) for log in logs]
    if len(set(names)) < len(names):
        names = [log.as_posix() for log in logs]
    if legend is None or len(legend) == len(logs):
        return [[name] * keys for name in legend or names]
    if len(legend) != len(logs) * keys:
        raise UserError(
            f'--legend: {len(legend)} names for {len(logs)} logs and {keys} keys; write '
            f'{len(logs)}, or {len(logs) * keys} for a name a curve, in the order of the logs'
        )
    return [list(legend[i * keys : (i + 1) * keys]) for i in range(len(logs))]


def _run_name(log: Path) -> str:
    """The work_dir's name, in place of WORK_DIR/STAMP/vis_data/scalars.json."""
    folder = log.resolve()
    folder = folder.parent if folder.is_file() else folder
    if folder.name == 'vis_data':
        folder = folder.parent.parent
    return folder.name


def check_keys(keys: Sequence[str], runs: Sequence[dict[str, Curve]]) -> None:
    """Refuse a key that no run logged."""
    known = list(dict.fromkeys(name for run in runs for name in run))
    for key in keys:
        if key not in known:
            hint = did_you_mean(key, known)
            raise UserError(f'--keys: nothing logged {key!r}; {hint} there is {", ".join(known)}')


def use_style(style: str | None) -> None:
    """Choose matplotlib's style; those of seaborn go by their short names too."""
    for name in filter(None, (style, f'seaborn-v0_8-{style}')):
        if style is None or name in plt.style.available:
            plt.style.use(name if style else 'default')
            return
    raise UserError(f'--style: {style!r} is not one of {", ".join(plt.style.available)}')


def check_out(out: Path) -> None:
    """Refuse an existing file, and a format that matplotlib cannot write."""
    check_new_file(out, '--out')
    formats = Figure().canvas.get_supported_filetypes()
    if out.suffix[1:].lower() not in formats:
        raise UserError(f'--out: {out} does not end in one of .{", .".join(sorted(formats))}')


def main() -> None:
    """Write the picture, or show it."""
    args = parse_args()
    if args.out is not None:
        check_out(args.out)
    labels = labels_of(args.legend, args.json_logs, len(args.keys))
    runs = [read_curves(log) for log in args.json_logs]
    check_keys(args.keys, runs)
    use_style(args.style)
    if args.out is None:
        figure = window_figure('write the picture with --out FILE.png', args.backend)
    else:
        figure = Figure()
    plt.rcParams.update(font_settings())
    draw_curves(figure, runs, args.keys, labels, args.title)
    if args.out is None:
        plt.show()
        return
    with atomic_path(args.out) as partial:
        figure.savefig(partial, dpi=120)
    print(f'curves: {args.out}')


if __name__ == '__main__':
    run_tool(main)
