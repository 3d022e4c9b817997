"""The state of a study: `study.json` for programs and a table for people."""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial
from prettytable import PrettyTable

from mmseg_kd.checkpoints import atomic_path
from mmseg_kd.records.progress import read_progress
from mmseg_kd.studies.plan import PlannedRun
from mmseg_kd.studies.run_queue import RunQueue, state_of


def study_state(queue: RunQueue) -> dict[str, Any]:
    """Return the state of a study and its runs, the content of `study.json`."""
    study, current = queue.study, queue.current()
    variation = study.variation
    return {
        'name': study.name,
        'config': Path(study.file).as_posix(),
        'objective': {'metric': study.metric, 'direction': study.direction},
        'baseline': study.baseline,
        'kind': variation.kind if variation else 'list',
        'space': {p.key: p.spec for p in variation.space} if variation else {},
        'runs': [_run_state(queue, run, current.get(run.key)) for run in queue.plan],
    }


def _run_state(queue: RunQueue, run: PlannedRun, trial: FrozenTrial | None) -> dict[str, Any]:
    decode = {parameter.key: parameter for parameter in run.space}
    params = dict(run.params)
    attrs: Mapping[str, Any] = {}
    if trial is not None:
        attrs = trial.user_attrs
        params |= {
            key: p.decode(trial.params[key]) for key, p in decode.items() if key in trial.params
        }
    # If its process was killed, another attempt follows.
    state = 'waiting' if trial and queue.is_lost(trial) else state_of(trial)
    return {
        'name': run.name,
        'seed': run.seed,
        'work_dir': run.work_dir,
        'state': state,
        'error': attrs.get('error') if state == 'failed' else None,
        'config': run.config,
        'options': {**{k: v for k, v in run.options.items() if k != 'randomness.seed'}, **params},
        'params': params,
        'needs': {key: needed for key, (needed, _) in run.needs.items()},
        'value': attrs.get('best', trial.value) if state in ('done', 'pruned') else None,
        'seconds': attrs.get('seconds'),
    }


def write_state(queue: RunQueue, folder: Path, must: bool = False) -> dict[str, Any]:
    """Write `study.json` into a study's folder and return what it holds.

    Args:
        queue: Queue of the study.
        folder: Folder of the study.
        must: Whether to raise the error if the file cannot be written. Otherwise it is a warning,
            because a training must not be lost for it.
    """
    while True:
        state = study_state(queue)
        try:
            with atomic_path(folder / 'study.json') as partial:
                partial.write_text(json.dumps(state, indent=1, default=str), encoding='utf-8')
        except OSError as error:
            if must:
                raise
            print(
                f'warning: {folder / "study.json"} was not written: {error.strerror}',
                file=sys.stderr,
            )
            return state
        # Another process may have written a newer state in between.
        if state == study_state(queue):
            return state


def status_table(state: Mapping[str, Any], plan: Sequence[PlannedRun], folder: Path) -> str:
    """Format one line per training: state, best objective, iteration and remaining time."""
    metric, direction = state['objective']['metric'], state['objective']['direction']
    table = PrettyTable(['run', 'seed', 'state', metric, 'iteration', 'ETA', 'note'])
    table.align = 'r'
    table.align['run'] = table.align['state'] = table.align['note'] = 'l'
    for row, run in zip(state['runs'], plan, strict=True):
        best, iteration, eta = row['value'], '-', '-'
        if row['state'] != 'waiting' or (folder / run.work_dir).is_dir():
            progress = read_progress(folder / run.work_dir)
            best = progress.best(metric, direction) if best is None else best
            iteration = f'{progress.iteration}/{run.max_iters}'
            if row['state'] == 'running' and progress.iteration_times and run.max_iters:
                left = (run.max_iters - progress.iteration) * progress.iteration_times[-1]
                eta = str(datetime.timedelta(seconds=round(left)))
        note = row['error'] or ', '.join(f'{k}={_short(v)}' for k, v in row['params'].items())
        value = '-' if best is None else f'{best:.2f}'
        table.add_row([run.name, run.seed, row['state'], value, iteration, eta, note])
    return table.get_string()


def _short(value: Any) -> str:
    return f'{value:.4g}' if isinstance(value, float) else str(value)
