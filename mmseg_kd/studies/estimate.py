"""Print what a study will train, in which order, and an estimate of the time."""

import datetime
import tempfile
from pathlib import Path

import torch
from tqdm import tqdm

from mmseg_kd.config.loading import load_config
from mmseg_kd.distillation.teacher import build_segmentor, without_distillation
from mmseg_kd.records.progress import read_progress
from mmseg_kd.studies.plan import PlannedRun, kind_of
from mmseg_kd.studies.sharing.run_queue import RunQueue
from mmseg_kd.studies.sharing.state import status_table, study_state
from mmseg_kd.studies.time_budget import measure


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
    left = [
        run for run, row in zip(queue.plan, state['runs'], strict=True) if row['state'] != 'done'
    ]
    for run in tqdm(left, desc='timing'):
        budget = run.settings.get('train_cfg.time_budget')
        # Options that differ in numbers only take the same time.
        kind = kind_of(run.config, run.options)
        if budget is None and kind not in paces:
            paces[kind] = _pace(queue, run)
        iterations = (run.max_iters or 0) - read_progress(folder / run.work_dir).iteration
        seconds += budget or max(iterations, 0) * paces[kind]
    span = datetime.timedelta(seconds=round(seconds))
    print(f'about {span} of training left, without evaluations')


def _pace(queue: RunQueue, run: PlannedRun) -> float:
    """Return the seconds per iteration of a run, whether or not what it needs is trained."""
    options = run.options | {p.key: p.examples()[0] for p in run.space}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        for number, (key, need) in enumerate(run.needs.items()):
            needed = queue.runs[need]
            model = without_distillation(load_config(needed.config, needed.options).model)
            # Random weights take the same time.
            options[key] = str(Path(scratch, f'{number}.pth'))
            torch.save({'state_dict': build_segmentor(model).state_dict()}, options[key])
        return measure(load_config(run.config, options), run.label)
