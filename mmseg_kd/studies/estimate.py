"""Print what a study will train, in which order, and an estimate of the time."""

from __future__ import annotations

import datetime
import math
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmseg.registry import DATASETS
from prettytable import PrettyTable
from tqdm import tqdm

from mmseg_kd.checkpoints import find_latest_checkpoint
from mmseg_kd.config.loading import load_config
from mmseg_kd.errors import UserError
from mmseg_kd.records.progress import read_progress
from mmseg_kd.studies.config import Study
from mmseg_kd.studies.plan import PlannedRun, kind_of
from mmseg_kd.studies.run_queue import RunQueue, state_of
from mmseg_kd.studies.training_process import Task, TrainingProcess

# Number of timed iterations, and how many of the first are left out as warm-up.
TIMED, WARM_UP = 8, 3
IMAGES = 4


@dataclass(frozen=True)
class Cost:
    """Seconds that a training takes: once, per iteration and per evaluation."""

    start: float
    iteration: float
    evaluation: float

    def of(self, run: PlannedRun, done: int = 0) -> float:
        """Return the seconds that a training still takes after `done` iterations."""
        iterations = run.max_iters or 0
        interval = run.settings.get('train_cfg.val_interval') or iterations or 1
        left = max(iterations - done, 0)
        return self.start + left * self.iteration + math.ceil(left / interval) * self.evaluation


def describe_plan(
    study: Study, plan: Sequence[PlannedRun], folder: Path, queue: RunQueue | None, slots: int
) -> None:
    """Print the plan in order and an estimate of time from a few timed iterations.

    Nothing is written into the study's folder.

    Args:
        study: The study.
        plan: Its trainings.
        folder: Folder of the study.
        queue: Queue of a study that was run before.
        slots: Number of trainings that run at the same time.
    """
    states = {}
    if queue is not None:
        states = {key: state_of(trial) for key, trial in queue.current().items()}
    print(_plan_table(plan, states))
    left = [run for run in plan if states.get(run.key) not in ('done', 'pruned')]
    print(f'{study.name}: {len(plan)} runs, {len(left)} of them left, in {folder}')
    if not left:
        return
    costs, problem = _time_kinds(left, plan, folder)
    seconds = 0.0
    for run in left:
        if (cost := costs.get(kind_of(run.config, run.options))) is not None:
            seconds += cost.of(run, read_progress(folder / run.work_dir).iteration)
    if costs:
        span = datetime.timedelta(seconds=round(seconds / slots))
        where = f' on {slots} devices' if slots > 1 else ''
        print(f'about {span}{where}, from {TIMED - WARM_UP} timed iterations of each kind of run')
    if problem is not None:
        raise UserError(f'the estimate is incomplete: a run could not be timed: {problem}')


def _plan_table(plan: Sequence[PlannedRun], states: dict) -> str:
    table = PrettyTable(['', 'run', 'seed', 'state', 'iterations', 'needs', 'config', 'options'])
    table.align = 'l'
    table.align[''] = table.align['seed'] = table.align['iterations'] = 'r'
    table.max_width['options'] = 60
    for number, run in enumerate(plan, start=1):
        needs = ', '.join(f'{name} seed {seed}' for name, seed in run.needs.values())
        options = [f'{k}={v}' for k, v in run.options.items() if k != 'randomness.seed']
        options += [f'{p.key}: {p.spec}' for p in run.space]
        state = states.get(run.key, 'waiting')
        row = [number, run.name, run.seed, state, run.max_iters, needs, run.config]
        table.add_row([*row, '\n'.join(options)])
    return table.get_string()


def _time_kinds(
    left: list[PlannedRun], plan: Sequence[PlannedRun], folder: Path
) -> tuple[dict[str, Cost], str | None]:
    """Time one training of each kind: options that differ in numbers only take the same time."""
    kinds: dict[str, PlannedRun] = {}
    for run in left:
        kinds.setdefault(kind_of(run.config, run.options), run)
    costs: dict[str, Cost] = {}
    problem = None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        folders = {run.key: folder / run.work_dir for run in plan}
        for kind, run in tqdm(kinds.items(), desc='timing', unit='run'):
            work_dir = Path(scratch) / str(len(costs))
            checkpoints = {
                key: str(find_latest_checkpoint(folders[need]) or '')
                for key, need in run.needs.items()
            }
            try:
                costs[kind] = _time(run, work_dir, checkpoints)
            except UserError as error:
                problem = problem or f'{run.label}: {error}'
            # A student without a trained teacher yet is timed with the teacher that was timed.
            for other in left:
                untrained = find_latest_checkpoint(folders[other.key]) is None
                if untrained and kind_of(other.config, other.options) == kind:
                    folders[other.key] = work_dir
    return costs, problem


def _time(run: PlannedRun, work_dir: Path, checkpoints: dict[str, str]) -> Cost:
    options: dict[str, Any] = {
        **run.options,
        **{parameter.key: parameter.examples()[0] for parameter in run.space},
        **checkpoints,
        'train_cfg.max_iters': TIMED,
        'train_cfg.val_interval': TIMED,
        'val_dataloader.dataset.indices': IMAGES,
        'default_hooks.logger.interval': 1,
        'default_hooks.checkpoint.interval': TIMED,
        'log_processor.window_size': 1,
    }
    if 'default_hooks.teacher_record.type' in run.settings:
        options['default_hooks.teacher_record.evaluate'] = False
    started = time.monotonic()
    process = TrainingProcess(
        Task(run.config, options, str(work_dir)), console=work_dir / 'console.log'
    )
    try:
        while not process.wait(0.1):
            pass
    except BaseException:
        process.kill()
        raise
    elapsed = time.monotonic() - started
    if process.outcome['outcome'] != 'done':
        raise UserError(process.outcome['error'])
    return _cost(run, work_dir, elapsed)


def _cost(run: PlannedRun, work_dir: Path, elapsed: float) -> Cost:
    progress = read_progress(work_dir)
    iteration = statistics.median(progress.iteration_times[WARM_UP:])
    image = next(iter(progress.evaluations.values()), {}).get('time', 0.0)
    data = load_config(run.config, run.options).get('val_dataloader')
    batches = math.ceil(len(DATASETS.build(data.dataset)) / data.batch_size) if data else 0
    timed = sum(progress.iteration_times) + IMAGES * image
    return Cost(max(elapsed - timed, 0.0), iteration, batches * image)
