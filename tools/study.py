"""Run a study's trainings, show their progress, and write the report.

python tools/study.py run    STUDY [--dry-run] [--retry-failed] [--no-report] [--lang en|ko]
python tools/study.py status STUDY
python tools/study.py report STUDY [--lang en|ko]

All three take `--work-dir DIR` and `--storage URL`.
"""

import argparse

from mmseg_kd.command_line import run_tool
from mmseg_kd.reports.writing.language import LANGUAGES
from mmseg_kd.studies.commands import report, run, status
from mmseg_kd.studies.sharing.storage import needing_storage


def main() -> None:
    """Run, show or report a study."""
    parser = argparse.ArgumentParser(description='Run and report the trainings of a study')
    commands = parser.add_subparsers(required=True, metavar='COMMAND')
    common = argparse.ArgumentParser(add_help=False)
    add = common.add_argument
    add('study', help='the config file of the study')
    add('--work-dir', help='the folder of the study; default: work_dirs/NAME')
    add('--storage', help="a database's URL, or a file of SQLite (default: the study's study.db)")
    add('--lang', choices=LANGUAGES, default='en', help='the language of the report')
    for function, text in (
        (run, 'train what is left, then write the report'),
        (status, 'show the progress of the runs'),
        (report, 'write the report'),
    ):
        command = commands.add_parser(function.__name__, parents=[common], help=text)
        command.set_defaults(function=function)
        if function is run:
            add = command.add_argument
            add('--dry-run', action='store_true', help='train nothing; print the plan and its time')
            add('--retry-failed', action='store_true', help='train failed runs again')
            add('--no-report', action='store_true', help='write no report at the end')
    args = parser.parse_args()
    with needing_storage():
        args.function(args)


if __name__ == '__main__':
    run_tool(main)
