"""Messages between a study and its trainings, and the state that a stopped study leaves."""

import _thread
import json
import os
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
from mmseg_kd.studies.sharing.owner import Watch, this_host, this_process
from mmseg_kd.studies.sharing.run_queue import RunQueue
from mmseg_kd.studies.sharing.state import study_state, write_state
from mmseg_kd.studies.sharing.storage import open_storage
from mmseg_kd.studies.training_process import Task, run_training


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable], None]:
    """Replace what a started process runs."""
    return lambda fake: monkeypatch.setattr('mmseg_kd.studies.training_process.enter', fake)


@pytest.mark.parametrize('in_file', [True, False])
def test_what_a_training_prints_is_kept_apart_from_its_messages(
    training: Callable, tmp_path: Path, capfd: pytest.CaptureFixture, in_file: bool
) -> None:
    training(fake_trainings.noisy)
    console = tmp_path / 'run' / 'console.log' if in_file else None
    assert run_training(Task('c', {}, 'w', console=console)) == ('done', None)
    out, err = capfd.readouterr()
    printed = console.read_text(encoding='utf-8') if console else err
    assert printed == 'a line\n한글\nwithout Python\n'
    assert out == ''


def test_a_training_that_is_killed_has_failed(training: Callable) -> None:
    training(fake_trainings.dying)
    end, error = run_training(Task('c', {}, 'w'))
    assert (end, error) == (
        'failed',
        'the training was killed by signal 9 (Killed); the machine may be out of memory',
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
        while sum(t.state == TrialState.RUNNING for t in queue.current().values()) < 1:
            time.sleep(0.05)
        for _ in range(interrupts):
            _thread.interrupt_main()
            time.sleep(0.5)

    threading.Thread(target=interrupt, daemon=True).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        runner.run()
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
        while not (trials := list(other.current().values())) or 'owner' not in trials[0].user_attrs:
            time.sleep(0.05)
        other.optuna.tell(trials[0].number, state=TrialState.FAIL)
        lease = other.claim()
        time.sleep(4.0)
        lease.finish(TrialState.COMPLETE, 1.0)

    threading.Thread(target=take_over, daemon=True).start()
    state = StudyRunner(queue, tmp_path / 'out').run()
    assert [(run['state'], run['value']) for run in state['runs']] == [('done', 1.0)]
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == ['r0 seed 0 was taken over by another process', 'waiting for r0 seed 0']


def test_a_run_whose_process_was_killed_does_not_run(tmp_path: Path) -> None:
    queue = study_of(tmp_path, 1)
    queue.prepare()
    lease = queue.claim()
    assert study_state(queue)['runs'][0]['state'] == 'running'
    lease.set('owner', {'host': this_host(), 'processes': [[os.getpid(), 0.0]]})
    assert study_state(queue)['runs'][0]['state'] == 'waiting'


def test_a_state_that_cannot_be_written_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    queue = study_of(tmp_path, 1)
    queue.prepare()
    (tmp_path / 'out' / 'study.json').mkdir()
    assert write_state(queue, tmp_path / 'out')['runs'][0]['state'] == 'waiting'
    assert 'study.json was not written' in capsys.readouterr().err


def test_a_clock_that_moves_makes_no_other_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = this_process()
    monkeypatch.setattr('psutil.boot_time', lambda: 12345.0)
    assert this_host() == owner['host']
    pid, created = owner['processes'][0]
    watch = Watch()
    assert not watch.is_lost(0, {**owner, 'processes': [[pid, created + 1.5]]}, 1)
    assert watch.is_lost(0, {**owner, 'processes': [[pid, created + 60]]}, 1)


def test_only_untested_finished_runs_are_tested(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks: list[Task] = []
    monkeypatch.setattr(
        'mmseg_kd.studies.runner.run_training', lambda task: tasks.append(task) or ('done', None)
    )
    queue = study_of(tmp_path, 2)
    queue.prepare()
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
