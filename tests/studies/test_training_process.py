"""Messages between a study and its trainings, and the state that a stopped study leaves."""

import _thread
import json
import multiprocessing
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import fake_trainings
import pytest
from conftest import ROOT
from optuna.trial import TrialState

from mmseg_kd.records.run_record import read_run
from mmseg_kd.studies.config import load_study
from mmseg_kd.studies.plan import plan_study
from mmseg_kd.studies.runner import StudyRunner
from mmseg_kd.studies.sharing.run_queue import GRACE, RunQueue
from mmseg_kd.studies.sharing.state import study_state
from mmseg_kd.studies.sharing.storage import open_storage
from mmseg_kd.studies.training import _test
from mmseg_kd.studies.training_process import Task, run_training


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable], None]:
    """Replace what a started process runs."""
    return lambda fake: monkeypatch.setattr('mmseg_kd.studies.training_process.enter', fake)


def test_an_error_is_returned(training: Callable) -> None:
    training(fake_trainings.failing)
    assert run_training(Task('c', {}, 'w')) == 'it broke'


def test_a_training_that_is_killed_has_failed(training: Callable) -> None:
    training(fake_trainings.dying)
    assert run_training(Task('c', {}, 'w')) == (
        'the training was killed by signal 9 (Killed); the machine may be out of memory'
    )


def study_of(folder: Path, runs: int) -> RunQueue:
    toy = (ROOT / 'local_configs' / 'toy' / 'segformer.b0.toy.py').as_posix()
    names = ', '.join(f'r{k}=dict(config={toy!r})' for k in range(runs))
    (folder / 'mine.py').write_text(f'study = dict(runs=dict({names}))', encoding='utf-8')
    study = load_study(str(folder / 'mine.py'))
    return RunQueue(study, plan_study(study), open_storage(None, folder / 'out'))


@pytest.mark.parametrize(
    ('fake', 'interrupts'), [(fake_trainings.obedient, 1), (fake_trainings.stubborn, 2)]
)
def test_a_stopped_study_gives_everything_back(
    training: Callable, tmp_path: Path, fake: Callable, interrupts: int
) -> None:
    training(fake)
    queue = study_of(tmp_path, 3)
    runner = StudyRunner(queue, tmp_path / 'out')

    def interrupt() -> None:
        while not any(t.state == TrialState.RUNNING for t in queue.current().values()):
            time.sleep(0.05)
        # The second Ctrl-C comes while the training is asked to stop.
        while interrupts == 2 and not multiprocessing.active_children():
            time.sleep(0.05)
        for _ in range(interrupts):
            _thread.interrupt_main()
            time.sleep(0.5)

    user = threading.Thread(target=interrupt, daemon=True)
    user.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        try:
            runner.run()
        finally:
            # Where it comes late, the second Ctrl-C ends here and not in the next test.
            user.join()
    assert time.monotonic() - started < 30
    state = json.loads((tmp_path / 'out' / 'study.json').read_text(encoding='utf-8'))
    assert [run['state'] for run in state['runs']] == ['waiting'] * 3
    assert {queue.state_of(trial) for trial in queue.current().values()} == {'waiting'}


@pytest.mark.slow
def test_a_process_that_lost_its_run_stops_training_it(
    training: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    training(fake_trainings.stubborn)
    monkeypatch.setattr('mmseg_kd.studies.sharing.run_queue.HEARTBEAT', 2.0)
    queue, other = study_of(tmp_path, 1), study_of(tmp_path, 1)

    def take_over() -> None:
        while not (trials := list(other.current().values())):
            time.sleep(0.05)
        other.optuna.tell(trials[0].number, state=TrialState.FAIL)
        lease = other.claim()
        time.sleep(4.0)
        lease.finish(TrialState.COMPLETE, 1.0)

    threading.Thread(target=take_over, daemon=True).start()
    state = StudyRunner(queue, tmp_path / 'out').run()
    assert [(run['state'], run['value']) for run in state['runs']] == [('done', 1.0)]
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == [
        'r0 seed 0 was taken over by another process',
        'waiting for r0 seed 0: a process trains it, or died just now',
    ]


def test_a_run_whose_process_was_killed_does_not_run(tmp_path: Path) -> None:
    queue = study_of(tmp_path, 1)
    lease = queue.claim()
    assert study_state(queue)['runs'][0]['state'] == 'running'
    # The second one is of a clock that was wrong.
    for beat in (-1.5 * GRACE, 1.5 * GRACE):
        lease.set('heartbeat', time.time() + beat)
        assert study_state(queue)['runs'][0]['state'] == 'waiting'


def test_the_scores_of_another_metric_are_numbers_of_numpy(trained: Path, tmp_path: Path) -> None:
    config = next((trained / 'run').glob('*.py'))
    options = {'test_evaluator': dict(type='IoUMetric', iou_metrics=['mIoU'], _delete_=True)}
    task = Task(str(config), options, str(tmp_path / 'test'))
    checkpoint = shutil.copy(trained / 'run' / 'iter_6.pth', tmp_path)
    _test(task, checkpoint)
    content = json.loads((tmp_path / 'test.json').read_text(encoding='utf-8'))
    assert content['checkpoint'] == 'iter_6.pth' and 'mIoU' in content['metrics']


def test_only_untested_finished_runs_are_tested(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks: list[Task] = []
    monkeypatch.setattr(
        'mmseg_kd.studies.runner.run_training', lambda task, meanwhile: tasks.append(task)
    )
    queue = study_of(tmp_path, 2)
    queue.claim().finish(TrialState.COMPLETE, 1.0)
    work_dir = tmp_path / 'out' / 'runs' / 'r0' / 'seed0'
    shutil.copytree(trained / 'run', work_dir)
    runner = StudyRunner(queue, tmp_path / 'out')
    runner.test()
    (task,) = tasks
    assert Path(task.checkpoint) == read_run(work_dir).best_checkpoint('mIoU11')[0]
    assert Path(task.work_dir) == work_dir / 'test'
    content = {'checkpoint': Path(task.checkpoint).name, 'metrics': {}}
    (work_dir / 'test.json').write_text(json.dumps(content))
    runner.test()
    assert len(tasks) == 1
