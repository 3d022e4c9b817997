"""The state of a study: `study.json` for programs and a table for people."""

import datetime
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from statistics import fmean
from typing import Any

from optuna.trial import FrozenTrial
from prettytable import PrettyTable

from mmseg_kd.checkpoints import write_text
from mmseg_kd.records.progress import Progress, read_progress
from mmseg_kd.reports.comparing.differing_settings import setting_text
from mmseg_kd.studies.plan import PlannedRun
from mmseg_kd.studies.sharing.run_queue import RunQueue


def study_state(queue: RunQueue) -> dict[str, Any]:
    """Return the state of a study and its runs, the content of `study.json`."""
    study, current = queue.study, queue.current()
    variation = study.variation
    # A run with a grid or a search has a name for each point.
    points: dict[str, dict[str, None]] = {}
    for run in queue.plan:
        points.setdefault(run.name.partition('/')[0], {})[run.name] = None
    return {
        'name': study.name,
        'config': Path(study.file).as_posix(),
        'objective': {'metric': study.metric},
        'baseline': study.baseline,
        'controls': {
            point: [control for name in names for control in points[name]]
            for run, names in study.controls.items()
            for point in points[run]
        },
        'kind': variation.kind if variation else 'list',
        'space': {p.key: p.spec for p in variation.space} if variation else {},
        'runs': [_run_state(queue, run, current.get(run.key)) for run in queue.plan],
    }


def _run_state(queue: RunQueue, run: PlannedRun, trial: FrozenTrial | None) -> dict[str, Any]:
    state, drawn = queue.state_of(trial), trial.params if trial else {}
    attrs = trial.user_attrs if trial else {}
    params = run.params | {p.key: p.decode(drawn[p.key]) for p in run.space if p.key in drawn}
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
        'value': trial.value if state == 'done' else None,
    }


def write_state(queue: RunQueue, folder: Path) -> dict[str, Any]:
    """Write `study.json` into a study's folder and return what it holds."""
    state = study_state(queue)
    try:
        write_text(folder / 'study.json', json.dumps(state, indent=1, default=str))
    except OSError as error:
        # The study itself reads the storage, not this file.
        print(f'warning: study.json cannot be written ({error.strerror})', flush=True)
    return state


def status_table(state: Mapping[str, Any], plan: Sequence[PlannedRun], folder: Path) -> str:
    """Format one line per training: state, best objective, iteration and remaining time."""
    metric = state['objective']['metric']
    failed = {(row['name'], row['seed']) for row in state['runs'] if row['state'] == 'failed'}
    table = PrettyTable(['', 'run', 'seed', 'state', metric, 'iteration', 'ETA', 'note'])
    table.align, table.max_width['note'] = 'r', 80
    table.align['run'] = table.align['state'] = table.align['note'] = 'l'
    for number, (row, run) in enumerate(zip(state['runs'], plan, strict=True), start=1):
        progress = read_progress(folder / run.work_dir)
        best = progress.best(metric)
        # The stored value may be of another metric, if the study's file was changed.
        best = row['value'] if best is None else best
        left = _seconds_left(run, progress) if row['state'] == 'running' else None
        eta = '-' if left is None else clock(left)
        value = '-' if best is None else f'{best:.2f}'
        iteration = f'{progress.iteration}/{run.max_iters or "?"}'
        notes = [f'{k}={setting_text(v)}' for k, v in row['params'].items()]
        notes += [f'needs {name}, which failed' for name, _ in failed & {*run.needs.values()}]
        note = row['error'] or ', '.join(notes)
        table.add_row([number, run.name, run.seed, row['state'], value, iteration, eta, note])
    return table.get_string()


def time_left(queue: RunQueue, folder: Path) -> str:
    """Estimate how long a study still takes, from its finished trainings; '' if that is unknown."""
    current = queue.current()
    state = {run.key: queue.state_of(current.get(run.key)) for run in queue.plan}
    took, left, blocked = defaultdict(list), 0.0, set()
    for run in queue.plan:
        # A later attempt may have continued an earlier one.
        if state[run.key] == 'done' and current[run.key].user_attrs['attempt'] == 1:
            took[run.name.partition('/')[0]].append(current[run.key].duration.total_seconds())
    for run in queue.plan:
        if state[run.key] == 'failed' or blocked & {*run.needs.values()}:
            blocked.add(run.key)
        elif took and state[run.key] != 'done':
            # Other seeds and points of a run take as long; an unknown run takes as long as all.
            known = took.get(run.name.partition('/')[0]) or chain(*took.values())
            progress = read_progress(folder / run.work_dir)
            seconds = _seconds_left(run, progress) if state[run.key] == 'running' else None
            left += fmean(known) if seconds is None else seconds
    processes = max(list(state.values()).count('running'), 1)
    return f'about {clock(left / processes)} left' if left else ''


def _seconds_left(run: PlannedRun, progress: Progress) -> float | None:
    if not (progress.iteration_times and run.max_iters):
        return None
    return (run.max_iters - progress.iteration) * progress.iteration_times[-1]


def clock(seconds: float) -> str:
    """Format a time span as hours, minutes and seconds."""
    return str(datetime.timedelta(seconds=round(seconds)))
