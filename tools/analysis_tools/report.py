"""Report on runs: tables, curves, statistics, findings, as Markdown and one HTML file.

python tools/analysis_tools/report.py WORK_DIR [WORK_DIR ...] [--out DIR] [--lang ko]
                                      [--baseline NAME] [--images N] [--overwrite]

A WORK_DIR is the work_dir of a training or the folder of a study. Runs that differ only in the seed
are grouped. Each table is also written as CSV and LaTeX, and each figure as PDF.
"""

import argparse
from pathlib import Path

# A report without images needs no models, which take 120 MB and a second to import.
REGISTER_LATE = True

from mmseg_kd.command_line import at_least, run_tool  # noqa: E402
from mmseg_kd.paths import relative  # noqa: E402
from mmseg_kd.reports.report import write_report  # noqa: E402
from mmseg_kd.reports.writing.language import LANGUAGES  # noqa: E402


def main() -> None:
    """Write the report."""
    parser = argparse.ArgumentParser(description='Report on runs')
    add = parser.add_argument
    add('work_dirs', nargs='+', type=Path, metavar='WORK_DIR', help='work_dir or study')
    add('--out', type=Path, help='default: a single WORK_DIR, else `report` next to the first')
    add('--lang', choices=LANGUAGES, default='en', help='language (default: en)')
    add('--baseline', metavar='NAME', help='the run that the others are compared with')
    text = 'validation images of each kind to draw (default: 1); 0 loads no model and omits GMACs'
    add('--images', type=at_least(0), default=1, metavar='N', help=text)
    add('--overwrite', action='store_true', help='replace a report of other runs')
    args = parser.parse_args()
    first, *others = args.work_dirs
    out = args.out or (first.resolve().parent / 'report' if others else first)
    files = write_report(args.work_dirs, out, args.lang, args.baseline, args.overwrite, args.images)
    for file in files[:2]:
        print(relative(file))
    print(f'{len(files) - 2} figures and the tables: {relative(out / "figures")} and tables')


if __name__ == '__main__':
    run_tool(main)
