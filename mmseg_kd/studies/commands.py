"""The commands of `tools/study.py`."""

from __future__ import annotations

import argparse
import os
import re
import signal
import threading
from pathlib import Path
from typing import Any

from mmseg_kd.engine.devices import unused_card
from mmseg_kd.errors import UserError
from mmseg_kd.paths import relative
from mmseg_kd.studies.config import Study, load_study
from mmseg_kd.studies.plan import PlannedRun, check_files, plan_study
from mmseg_kd.studies.run_queue import RunQueue
from mmseg_kd.studies.runner import StudyRunner
from mmseg_kd.studies.state import status_table, write_state
from mmseg_kd.studies.storage import open_storage


def run(args: argparse.Namespace) -> None:
    """Train what is left of a study and write the report; with `--dry-run`, print the plan."""
    study, plan, folder = _read(args)
    devices = _devices(args.gpus)
    if args.dry_run:
        from mmseg_kd.studies.estimate import describe_plan

        describe_plan(study, plan, folder, _stored(args, study, plan, folder), len(devices or [0]))
        return
    check_files(plan)
    if problem := unused_card():
        print(f'warning: {problem}')
    queue = RunQueue(study, plan, open_storage(args.storage, folder))
    runner = StudyRunner(queue, folder, devices)
    _stop_on_termination()
    try:
        state = runner.run(args.retry_failed, args.rerun_changed)
    except KeyboardInterrupt:
        print('run the same command again to continue from the last checkpoints')
        raise
    print(status_table(state, plan, folder))
    if not args.no_report:
        _report(folder, args.lang)
    _complain(state)


def status(args: argparse.Namespace) -> None:
    """Print the state of every training."""
    queue, folder = _begun(args)
    print(status_table(write_state(queue, folder, must=True), queue.plan, folder))


def report(args: argparse.Namespace) -> None:
    """Write the report from the runs so far."""
    queue, folder = _begun(args)
    write_state(queue, folder, must=True)
    _report(folder, args.lang)


def _read(args: argparse.Namespace) -> tuple[Study, list[PlannedRun], Path]:
    study = load_study(args.study)
    folder = Path(args.work_dir) if args.work_dir else Path('work_dirs') / study.name
    return study, plan_study(study), folder


def _begun(args: argparse.Namespace) -> tuple[RunQueue, Path]:
    study, plan, folder = _read(args)
    queue = _stored(args, study, plan, folder)
    if queue is None:
        raise UserError(f'{relative(folder)} holds no study yet; start it with: run {args.study}')
    return queue, folder


def _stored(
    args: argparse.Namespace, study: Study, plan: list[PlannedRun], folder: Path
) -> RunQueue | None:
    """Return the queue of a study that was run before, without creating one."""
    where = args.storage or str(folder / 'study.db')
    if '://' not in where and not Path(where).is_file():
        return None
    return RunQueue(study, plan, open_storage(args.storage, folder))


def _devices(gpus: str | None) -> list[str] | None:
    """Return the values of `CUDA_VISIBLE_DEVICES` for the devices of `--gpus`."""
    if gpus is None:
        return None
    if not re.fullmatch(r'\d+(,\d+)*', gpus):
        raise UserError(f'--gpus: {gpus!r} is not a list of devices, such as 0,1')
    numbers = [int(number) for number in gpus.split(',')]
    if len(set(numbers)) < len(numbers):
        raise UserError(f'--gpus: {gpus} has a device twice')
    outer = os.environ.get('CUDA_VISIBLE_DEVICES')
    if outer is None:
        return [str(number) for number in numbers]
    # A scheduler gave this process some devices of the machine; CUDA numbers only these.
    visible = [device.strip() for device in outer.split(',') if device.strip()]
    if max(numbers) >= len(visible):
        raise UserError(
            f'--gpus: there is no device {max(numbers)}: CUDA_VISIBLE_DEVICES={outer} leaves '
            f'{len(visible)}, counted from 0'
        )
    return [visible[number] for number in numbers]


def _stop_on_termination() -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        # A cluster sends SIGTERM before it stops a job; SIGBREAK is Ctrl-Break on Windows.
        for name in ('SIGTERM', 'SIGBREAK'):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), interrupt)


def _report(folder: Path, lang: str) -> None:
    from mmseg_kd.reports.report import write_report

    for path in write_report([folder], folder, lang):
        if path.suffix in ('.html', '.md'):
            print(f'report: {relative(path)}')


def _complain(state: dict[str, Any]) -> None:
    failed = [row for row in state['runs'] if row['state'] == 'failed']
    if not failed:
        return
    lines = [f'{row["name"]} seed {row["seed"]}: {row["error"]}' for row in failed[:3]]
    lines += [f'{len(failed) - 3} more'] if len(failed) > 3 else []
    blocked = sum(row['state'] == 'waiting' for row in state['runs'])
    waiting = f'; {blocked} more wait for them' if blocked else ''
    raise UserError(
        f'{len(failed)} of {len(state["runs"])} runs failed{waiting}: {"; ".join(lines)}. Fix '
        'the cause and add --retry-failed'
    )
