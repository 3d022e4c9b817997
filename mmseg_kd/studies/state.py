"""`study.json`, the state of a study for readers, and the table of it for people."""

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
from mmseg_kd.errors import UserError
from mmseg_kd.records.progress import read_progress
from mmseg_kd.studies.plan import PlannedRun
from mmseg_kd.studies.run_queue import STATES, RunQueue


def study_state(queue: RunQueue) -> dict[str, Any]:
    """Describe a study and its runs, as `study.json` holds it."""
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
    state = 'waiting' if trial is None else STATES[trial.state]
    if (state == 'failed' and 'error' not in attrs) or (trial and queue.is_lost(trial)):
        # Interrupted, or its process was killed; another attempt follows.
        state = 'waiting'
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
        'value': trial.value if trial is not None and state in ('done', 'pruned') else None,
        'seconds': attrs.get('seconds'),
    }


def write_state(queue: RunQueue, folder: Path) -> dict[str, Any]:
    """Write `study.json` into a study's folder and return what it holds.

    The storage has the study; this copy for readers is not worth stopping it. Where the file cannot
    be written, a line says so.

    Raises:
        UserError: `study.json` is a folder.
    """
    if (folder / 'study.json').is_dir():
        raise UserError(f'{folder / "study.json"} is a folder, but the study writes a file there')
    while True:
        state = study_state(queue)
        try:
            with atomic_path(folder / 'study.json') as partial:
                partial.write_text(json.dumps(state, indent=1, default=str), encoding='utf-8')
        except OSError as error:
            print(
                f'warning: {folder / "study.json"} was not written: {error.strerror}',
                file=sys.stderr,
            )
            return state
        # Another process may have written something newer before what was read here.
        if state == study_state(queue):
            return state


def status_table(state: Mapping[str, Any], plan: Sequence[PlannedRun], folder: Path) -> str:
    """One line a training: state, best objective, iteration and the time it still needs."""
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
