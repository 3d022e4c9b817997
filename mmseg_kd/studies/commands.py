"""The commands of `tools/study.py`."""

import argparse
import signal
import textwrap
from pathlib import Path
from typing import Any

from optuna.storages import InMemoryStorage

from mmseg_kd.engine.devices import unused_card
from mmseg_kd.errors import UserError
from mmseg_kd.paths import relative
from mmseg_kd.studies.config import Study, load_study
from mmseg_kd.studies.plan import PlannedRun, check_files, plan_study
from mmseg_kd.studies.runner import StudyRunner
from mmseg_kd.studies.sharing.run_queue import RunQueue
from mmseg_kd.studies.sharing.state import status_table, write_state
from mmseg_kd.studies.sharing.storage import open_storage


def run(args: argparse.Namespace) -> None:
    """Train what is left of a study and write the report; with `--dry-run`, print the plan."""
    study, plan, folder = _read(args)
    if args.dry_run:
        from mmseg_kd.studies.estimate import describe_plan

        begun = _is_begun(args, folder)
        storage = open_storage(args.storage, folder) if begun else InMemoryStorage()
        describe_plan(RunQueue(study, plan, storage), folder)
        return
    check_files(plan)
    if problem := unused_card():
        print(f'warning: {problem}')
    runner = StudyRunner(RunQueue(study, plan, open_storage(args.storage, folder)), folder)
    # A cluster sends SIGTERM before it stops a job; SIGBREAK is Ctrl-Break on Windows.
    for name in {'SIGTERM', 'SIGBREAK'} & set(dir(signal)):
        signal.signal(getattr(signal, name), signal.default_int_handler)
    try:
        state = runner.run(args.retry_failed)
        if study.test:
            runner.test()
    except KeyboardInterrupt:
        print('run the same command again to continue from the last checkpoints')
        raise
    print(status_table(state, plan, folder))
    if not args.no_report:
        _report(folder, args.lang)
    _complain(state['runs'])


def status(args: argparse.Namespace) -> None:
    """Print the state of every training."""
    queue, folder = _begun(args)
    print(status_table(write_state(queue, folder), queue.plan, folder))


def report(args: argparse.Namespace) -> None:
    """Write the report from the runs so far."""
    queue, folder = _begun(args)
    write_state(queue, folder)
    _report(folder, args.lang)


def _read(args: argparse.Namespace) -> tuple[Study, list[PlannedRun], Path]:
    study = load_study(args.study)
    folder = Path(args.work_dir) if args.work_dir else Path('work_dirs') / study.name
    return study, plan_study(study), folder


def _is_begun(args: argparse.Namespace, folder: Path) -> bool:
    where = args.storage or str(folder / 'study.db')
    return '://' in where or Path(where).is_file()


def _begun(args: argparse.Namespace) -> tuple[RunQueue, Path]:
    """Open a study that was run before, without creating one."""
    study, plan, folder = _read(args)
    if not _is_begun(args, folder):
        raise UserError(f'{relative(folder)} holds no study yet; start it with: run {args.study}')
    return RunQueue(study, plan, open_storage(args.storage, folder)), folder


def _report(folder: Path, lang: str) -> None:
    from mmseg_kd.reports.report import write_report

    for path in write_report([folder], folder, lang):
        if path.suffix in ('.html', '.md'):
            print(f'report: {relative(path)}')


def _complain(runs: list[dict[str, Any]]) -> None:
    failed = [run for run in runs if run['state'] == 'failed']
    if failed:
        errors = '; '.join(f'{run["name"]} seed {run["seed"]}: {run["error"]}' for run in failed)
        raise UserError(
            f'{len(failed)} of {len(runs)} runs failed: {textwrap.shorten(errors, 600)}. Fix the '
            'cause and add --retry-failed'
        )
