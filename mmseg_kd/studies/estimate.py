"""Print what a study will train, in which order, and an estimate of the time."""

from __future__ import annotations

import datetime
import math
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from mmseg.registry import DATASETS
from tqdm import tqdm

from mmseg_kd.checkpoints import find_latest_checkpoint
from mmseg_kd.config.loading import load_config
from mmseg_kd.errors import UserError
from mmseg_kd.records.progress import read_progress
from mmseg_kd.studies.plan import PlannedRun, kind_of
from mmseg_kd.studies.sharing.run_queue import RunQueue
from mmseg_kd.studies.sharing.state import status_table, study_state
from mmseg_kd.studies.training_process import Task, run_training

# Number of timed iterations, and how many of the first are left out as warm-up.
TIMED, WARM_UP = 8, 3
SHORT_RUN = {
    'train_cfg.max_iters': TIMED,
    'train_cfg.val_interval': TIMED,
    'val_dataloader.dataset.indices': 4,
    'default_hooks.logger.interval': 1,
    'default_hooks.checkpoint.interval': TIMED,
    'log_processor.window_size': 1,
}


def describe_plan(queue: RunQueue, folder: Path) -> None:
    """Print the plan in order and an estimate of time from a few timed iterations.

    Nothing is written into the study's folder.

    Args:
        queue: Queue of the study.
        folder: Folder of the study.

    Raises:
        UserError: A run cannot be timed.
    """
    state, seconds, costs = study_state(queue), 0.0, {}
    print(status_table(state, queue.plan, folder, details=True))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        # Options that differ in numbers only take the same time.
        kinds = {run.key: kind_of(run.config, run.options) for run in queue.plan}
        short = {kind: Path(scratch, str(n)) for n, kind in enumerate(kinds.values())}
        for run, row in zip(tqdm(queue.plan, desc='timing'), state['runs'], strict=True):
            kind = kinds[run.key]
            if row['state'] == 'done':
                continue
            if kind not in costs:
                # A needed run without a checkpoint has been timed before.
                checkpoints = {
                    key: find_latest_checkpoint(folder / queue.runs[need].work_dir)
                    or find_latest_checkpoint(short[kinds[need]])
                    for key, need in run.needs.items()
                }
                costs[kind] = _time(run, short[kind], checkpoints)
            start, iteration, evaluation = costs[kind]
            budget = run.settings.get('train_cfg.time_budget')
            length = run.max_iters or round((budget or 0) / iteration)
            left = length - read_progress(folder / run.work_dir).iteration
            interval = run.settings.get('train_cfg.val_interval') or length or 1
            seconds += start + left * iteration + math.ceil(left / interval) * evaluation
    span = datetime.timedelta(seconds=round(seconds))
    print(f'about {span} left, from {TIMED - WARM_UP} timed iterations of each kind of run')


def _time(
    run: PlannedRun, work_dir: Path, checkpoints: Mapping[str, Path | None]
) -> tuple[float, float, float]:
    """Return the seconds that a training takes once, per iteration and per evaluation."""
    options = run.options | {p.key: p.examples()[0] for p in run.space} | SHORT_RUN
    options |= {key: str(checkpoint or '') for key, checkpoint in checkpoints.items()}
    if 'default_hooks.teacher_record.type' in run.settings:
        options['default_hooks.teacher_record.evaluate'] = False
    if 'train_cfg.time_budget' in run.settings:
        options['train_cfg.time_budget'] = None
    started = time.monotonic()
    end, error = run_training(
        Task(run.config, options, str(work_dir), console=work_dir / 'console.log')
    )
    elapsed = time.monotonic() - started
    if end != 'done':
        raise UserError(f'there is no estimate: {run.label} could not be timed: {error}')
    progress = read_progress(work_dir)
    iteration = statistics.median(progress.iteration_times[WARM_UP:])
    batch = next(iter(progress.evaluations.values()), {}).get('time', 0.0)
    data = load_config(run.config, run.options).get('val_dataloader')
    batches = math.ceil(len(DATASETS.build(data.dataset)) / data.batch_size) if data else 0
    start = max(elapsed - sum(progress.iteration_times), 0.0)
    return start, iteration, batches * batch
