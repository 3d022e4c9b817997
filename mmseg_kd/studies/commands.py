"""The commands of `tools/study.py`."""

import argparse
import signal
import tempfile
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from optuna.storages import InMemoryStorage
from tqdm import tqdm

from mmseg_kd.config import load_config
from mmseg_kd.distillation.teacher import build_segmentor, without_distillation
from mmseg_kd.engine.devices import unused_card
from mmseg_kd.errors import UserError, one_line
from mmseg_kd.paths import check_folder, relative
from mmseg_kd.records.json_lines import read_json_file
from mmseg_kd.records.progress import read_progress
from mmseg_kd.studies.config import Study, load_study
from mmseg_kd.studies.plan import PlannedRun, check_files, kind_of, plan_study
from mmseg_kd.studies.runner import StudyRunner
from mmseg_kd.studies.sharing.run_queue import Key, RunQueue
from mmseg_kd.studies.sharing.state import clock, status_table, study_state, time_left, write_state
from mmseg_kd.studies.sharing.storage import open_storage
from mmseg_kd.studies.time_budget import measure


def run(args: argparse.Namespace) -> None:
    """Train what is left of a study and write the report; with `--dry-run`, print the plan."""
    study, plan, folder = _read(args)
    if args.dry_run:
        begun = _is_begun(args, folder)
        storage = open_storage(args.storage, folder) if begun else InMemoryStorage()
        describe_plan(RunQueue(study, plan, storage), folder)
        return
    check_folder(folder, '--work-dir')
    check_files(plan)
    check_models(plan)
    if problem := unused_card():
        print(f'warning: {problem}')
    runner = StudyRunner(RunQueue(study, plan, open_storage(args.storage, folder)), folder)
    # A cluster sends SIGTERM before it stops a job, a terminal SIGHUP (which nohup ignores) when it
    # is closed; SIGBREAK is Ctrl-Break on Windows.
    for name in {'SIGTERM', 'SIGHUP', 'SIGBREAK'} & set(dir(signal)):
        if signal.getsignal(getattr(signal, name)) is not signal.SIG_IGN:
            signal.signal(getattr(signal, name), signal.default_int_handler)
    try:
        state = runner.run(args.retry_failed)
        if study.test:
            runner.test()
    except KeyboardInterrupt:
        print('run the same command again to continue from the last checkpoints')
        raise
    print(status_table(state, plan, folder))
    failed = [f'{r["name"]} seed {r["seed"]}: {r["error"]}' for r in state['runs'] if r['error']]
    if not args.no_report and any(row['state'] == 'done' for row in state['runs']):
        _report(folder, args.lang)
    if failed:
        errors = textwrap.shorten('; '.join(failed), 600)
        count = f'{len(failed)} of {len(plan)} runs failed'
        raise UserError(f'{count}: {errors}. Fix the cause and add --retry-failed')


def status(args: argparse.Namespace) -> None:
    """Print the state of every training."""
    queue, folder = _begun(args)
    table = status_table(write_state(queue, folder), queue.plan, folder)
    print(f'{table}\n{time_left(queue, folder)}'.rstrip())


def report(args: argparse.Namespace) -> None:
    """Write the report from the runs so far."""
    queue, folder = _begun(args)
    write_state(queue, folder)
    _report(folder, args.lang)


def check_models(plan: list[PlannedRun]) -> None:
    """Build each model that needs the checkpoint of another run, with random weights for it.

    So a teacher that does not fit its student is found before it is trained.

    Raises:
        UserError: A model or teacher cannot be built.
    """
    runs = {run.key: run for run in plan}
    # Other numbers, such as weights and temperatures, make no other model.
    for run in {kind_of(run.config, run.options): run for run in plan if run.needs}.values():
        with _random_weights(run, runs) as options:
            try:
                model = build_segmentor(load_config(run.config, options).model)
                if hasattr(model, 'build_teacher'):
                    model.build_teacher()
            except Exception as error:
                problem = one_line(error)
                for key, (needed, _) in run.needs.items():
                    problem = problem.replace(options[key], f'the checkpoint of {needed}')
                raise UserError(f'run {run.name}: {problem}') from error


def describe_plan(queue: RunQueue, folder: Path) -> None:
    """Print the plan in order and an estimate of the time, from a few iterations of each kind.

    Nothing is written into the study's folder.

    Args:
        queue: Queue of the study.
        folder: Folder of the study.

    Raises:
        UserError: A run cannot be timed.
    """
    state, seconds, paces = study_state(queue), 0.0, {}
    print(status_table(state, queue.plan, folder))
    rows = zip(queue.plan, state['runs'], strict=True)
    for run in tqdm([run for run, row in rows if row['state'] != 'done'], desc='timing'):
        budget = run.settings.get('train_cfg.time_budget')
        # Runs whose options differ only in other numbers take the same time.
        kind = kind_of(run.config, run.options), run.settings.get('train_dataloader.batch_size')
        if budget is None and kind not in paces:
            # Random weights take the same time as the checkpoints that a run needs.
            with _random_weights(run, queue.runs) as options:
                paces[kind] = measure(load_config(run.config, options), run.label)
        iterations = (run.max_iters or 0) - read_progress(folder / run.work_dir).iteration
        seconds += budget or max(iterations, 0) * paces[kind]
    print(f'about {clock(seconds)} of training left, without evaluations')


@contextmanager
def _random_weights(run: PlannedRun, runs: Mapping[Key, PlannedRun]) -> Iterator[dict]:
    """Yield a run's options, with temporary checkpoints of random weights for those it needs."""
    options = run.options | {p.key: p.examples()[0] for p in run.space}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        for number, (key, need) in enumerate(run.needs.items()):
            model = load_config(runs[need].config, runs[need].options).model
            options[key] = str(Path(scratch, f'{number}.pth'))
            state = build_segmentor(without_distillation(model)).state_dict()
            torch.save({'state_dict': state}, options[key])
        yield options


def _read(args: argparse.Namespace) -> tuple[Study, list[PlannedRun], Path]:
    study = load_study(args.study)
    plan, folder = plan_study(study), Path(args.work_dir or Path('work_dirs', study.name))
    held = read_json_file(folder / 'study.json')
    name = held.get('name') if isinstance(held, dict) else None
    if name not in (None, study.name):
        raise UserError(f'{relative(folder)} holds the study {name}; write another --work-dir')
    return study, plan, folder


def _is_begun(args: argparse.Namespace, folder: Path) -> bool:
    where = args.storage or str(folder / 'study.db')
    return '://' in where or Path(where).is_file()


def _begun(args: argparse.Namespace) -> tuple[RunQueue, Path]:
    """Open a study that was run before, without creating one."""
    study, plan, folder = _read(args)
    if not _is_begun(args, folder):
        start = f'python tools/study.py run {args.study}'
        raise UserError(f'{relative(folder)} holds no study yet; start it with: {start}')
    return RunQueue(study, plan, open_storage(args.storage, folder)), folder


def _report(folder: Path, lang: str) -> None:
    # Takes 0.4 s, which the other commands do without.
    from mmseg_kd.reports.report import write_report

    for path in write_report([folder], folder, lang):
        if path.suffix in ('.html', '.md'):
            print(f'report: {relative(path)}')
