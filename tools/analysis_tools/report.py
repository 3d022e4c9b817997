"""Report on runs: tables, curves, statistics, findings, as Markdown and one HTML file.

python tools/analysis_tools/report.py WORK_DIR [WORK_DIR ...] [--out DIR] [--lang ko]
                                      [--baseline NAME] [--images N] [--overwrite]

A WORK_DIR is that of a training, the folder of a study, or a CSV or Markdown table of an outside
run (columns iteration, mIoU, and where they are known mAcc, aAcc, lr). Runs that differ in the
seed alone are taken together.
"""

import argparse
import os
import sys
from pathlib import Path

# A report without images needs no models, which take 120 MB and a second to import.
REGISTER_LATE = True

from mmseg_kd.command_line import run_tool  # noqa: E402
from mmseg_kd.errors import UserError  # noqa: E402
from mmseg_kd.paths import relative  # noqa: E402
from mmseg_kd.reports.report import other_report, write_report  # noqa: E402
from mmseg_kd.reports.writing.language import LANGUAGES  # noqa: E402


def main() -> None:
    """Write the report."""
    parser = argparse.ArgumentParser(description='Report on runs')
    parser.add_argument(
        'work_dirs', nargs='+', type=Path, metavar='WORK_DIR', help='work_dir, study, or table'
    )
    parser.add_argument(
        '--out', type=Path, help='where to write (default: the one WORK_DIR, else `report` beside)'
    )
    parser.add_argument('--lang', choices=LANGUAGES, default='en', help='language (default: en)')
    parser.add_argument('--baseline', metavar='NAME', help='the run that others are compared with')
    parser.add_argument(
        '--images',
        type=int,
        default=1,
        metavar='N',
        help='validation images of each kind (most improved, most damaged, median) to predict and '
        'draw; 0 for none (default: 1)',
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='replace a report of other runs without asking'
    )
    args = parser.parse_args()
    if args.images < 0:
        raise UserError(f'--images: {args.images} is not a number of images; write 0 for none')
    out = args.out or _folder(args.work_dirs)
    overwrite = args.overwrite or _may_replace(args.work_dirs, out)
    files = write_report(args.work_dirs, out, args.lang, args.baseline, overwrite, args.images)
    for file in files[:2]:
        print(relative(file))
    print(f'and {len(files) - 2} figures in {relative(out / "figures")}')


def _folder(work_dirs: list[Path]) -> Path:
    if len(work_dirs) == 1 and not work_dirs[0].is_file():
        return work_dirs[0]
    try:
        common = Path(os.path.commonpath([path.resolve().parent for path in work_dirs]))
    except ValueError:
        raise UserError('--out is needed: the runs are on different drives') from None
    return common / 'report'


def _may_replace(work_dirs: list[Path], out: Path) -> bool:
    """Ask, where there is someone to ask and something to ask about."""
    other = other_report(work_dirs, out)
    if other is None or not sys.stdin.isatty():
        return False
    answer = input(f'{relative(other)} is a report of other runs. Replace it? [y/N] ')
    return answer.strip().lower() in ('y', 'yes')


if __name__ == '__main__':
    run_tool(main)
