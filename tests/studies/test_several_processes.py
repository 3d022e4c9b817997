"""Several processes work on one study, and one of them is killed."""

import json
import os
import time
from collections import Counter
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from optuna.trial import FrozenTrial, TrialState
from studying import evaluated, start, state, study_file, trained

from mmseg_kd.studies.config import load_study
from mmseg_kd.studies.plan import plan_study
from mmseg_kd.studies.sharing.run_queue import RunQueue
from mmseg_kd.studies.sharing.storage import open_storage

TEXT = """study = dict(name='NAME', seeds=[0, 1], runs=dict(
    first=dict(config=CONFIG), second=dict(config=CONFIG, needs={'load_from': 'first'})))
"""


def trials(study: Path, storage: str) -> RunQueue:
    read = load_study(str(study))
    return RunQueue(read, plan_study(read), open_storage(storage, study.parent / 'out'))


def run_in_the_middle(queue: RunQueue, out: Path) -> tuple[FrozenTrial, Path]:
    """Return a running trial that has a checkpoint, and its work_dir."""
    until = time.monotonic() + 240
    while time.monotonic() < until:
        for (name, seed), trial in queue.current().items():
            folder = out / 'runs' / name / f'seed{seed}'
            if trial.state == TrialState.RUNNING and (folder / 'iter_3.pth').exists():
                return trial, folder
        time.sleep(0.05)
    raise AssertionError('no run came to its first checkpoint')


def kill_worker(queue: RunQueue, trial: FrozenTrial, work_dir: Path) -> int:
    """Kill the process that has a run, as if two minutes ago, and return its id."""
    training = psutil.Process(json.loads((work_dir / '.lock.json').read_text())['pid'])
    worker = training.parent()
    worker.kill()
    # The training ends by itself.
    training.wait(60)
    storage, study_id = queue.storage, queue.storage.get_study_id_from_name(queue.study.name)
    trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, trial.number)
    storage.set_trial_user_attr(trial_id, 'heartbeat', 0.0)
    return worker.pid


@pytest.mark.slow
def test_a_killed_worker_loses_no_run_and_none_is_run_twice(tmp_path: Path) -> None:
    # A database where there is one, else a file.
    storage = os.environ.get('MMSEG_KD_TEST_POSTGRES') or str(tmp_path / 'study.db')
    study = study_file(tmp_path, TEXT.replace('NAME', uuid4().hex), train_cfg__max_iters=12)
    workers = [start('run', study, '--storage', storage, '--no-report') for _ in range(3)]
    try:
        queue = trials(study, storage)
        trial, killed = run_in_the_middle(queue, tmp_path / 'out')
        pid = kill_worker(queue, trial, killed)
        ends = [(worker.communicate(timeout=280), worker) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [worker.returncode for _, worker in ends if worker.pid != pid] == [0, 0], ends
    runs = state(study)['runs']
    assert len(runs) == 4
    assert {run['state'] for run in runs} == {'done'}
    complete = trials(study, storage).optuna.get_trials(states=(TrialState.COMPLETE,))
    done = Counter((t.user_attrs['run'], t.user_attrs['seed']) for t in complete)
    assert done == {(name, seed): 1 for name in ('first', 'second') for seed in (0, 1)}
    for run in runs:
        folder = tmp_path / 'out' / run['work_dir']
        assert evaluated(folder).count(12) == 1
        # Resumed, not started from the beginning.
        assert trained(folder).count(1) == 1
        starts = len(list(folder.glob('*/vis_data')))
        assert starts == (2 if folder == killed else 1)
