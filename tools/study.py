"""Run a study's trainings, show their progress, and write the report.

python tools/study.py run    STUDY [--dry-run] [--retry-failed] [--rerun-changed]
                              [--no-report]
python tools/study.py status STUDY
python tools/study.py report STUDY [--lang en|ko]
"""

import argparse

from mmseg_kd.command_line import run_tool
from mmseg_kd.reports.writing.language import LANGUAGES
from mmseg_kd.studies.commands import report, run, status


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Run and report the trainings of a study')
    commands = parser.add_subparsers(required=True, metavar='COMMAND')
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument('study', help='the config file of the study')
    common.add_argument('--work-dir', help='the folder of the study; default: work_dirs/NAME')
    common.add_argument(
        '--storage',
        help='where Optuna keeps the study: a file of SQLite, or the URL of a database for several '
        'machines; default: study.db in the folder of the study',
    )
    common.add_argument(
        '--lang', choices=LANGUAGES, default='en', help='the language of the report'
    )

    command = commands.add_parser(
        'run', parents=[common], help='train what is left, then write the report'
    )
    command.set_defaults(function=run)
    command.add_argument(
        '--dry-run',
        action='store_true',
        help='print the plan and an estimate of the time, train nothing',
    )
    command.add_argument('--retry-failed', action='store_true', help='train failed runs again')
    command.add_argument(
        '--rerun-changed',
        action='store_true',
        help='train runs again whose config was edited since, and keep their old folders',
    )
    command.add_argument('--no-report', action='store_true', help='write no report at the end')
    for function, text in ((status, 'show the progress of the runs'), (report, 'write the report')):
        command = commands.add_parser(function.__name__, parents=[common], help=text)
        command.set_defaults(function=function)
    return parser.parse_args()


def main() -> None:
    """Run, show or report a study."""
    args = parse_args()
    args.function(args)


if __name__ == '__main__':
    run_tool(main)
