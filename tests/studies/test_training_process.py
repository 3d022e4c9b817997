"""Messages between a study and its trainings, and the state that a stopped study leaves."""

import _thread
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT
from optuna.trial import TrialState

from mmseg_kd.studies.config import load_study
from mmseg_kd.studies.owner import Watch, this_host, this_process
from mmseg_kd.studies.plan import plan_study
from mmseg_kd.studies.run_queue import RunQueue, state_of
from mmseg_kd.studies.runner import StudyRunner
from mmseg_kd.studies.state import study_state, write_state
from mmseg_kd.studies.storage import open_storage
from mmseg_kd.studies.training_process import Task, TrainingProcess

# Replaces mmseg_kd.studies.training, which takes seconds to start.
TRAINING = """
import json, os, sys

def tell(**message):
    os.write(1, b'\\x1emmseg_kd ' + json.dumps(message).encode() + b'\\n')

sys.stdin.readline()
"""
NOISY = """
os.write(1, 'a line\\n한글 without an end'.encode())
tell(step=3, metrics={'mIoU': 50.0})
os.write(1, sys.stdin.readline().encode())
tell(outcome='done')
"""
MADE_UP = """
os.write(1, b'\\x1emmseg_kd {no message\\n')
sys.stdin.readline()
"""
OBEDIENT = """
sys.stdin.readline()
tell(outcome='interrupted')
"""
STUBBORN = """
import time
time.sleep(60)
"""


@pytest.fixture
def training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Replace the training by some code; `python -m` looks in the current folder first."""
    monkeypatch.chdir(tmp_path)

    def replace(code: str) -> None:
        package = tmp_path / 'mmseg_kd' / 'studies'
        package.mkdir(parents=True)
        for file in (package.parent / '__init__.py', package / '__init__.py'):
            file.touch()
        (package / 'training.py').write_text(TRAINING + code, encoding='utf-8')

    return replace


def wait(process: TrainingProcess) -> dict:
    until = time.monotonic() + 30
    try:
        while not process.wait(0.1):
            assert time.monotonic() < until, 'it waits for ever'
    finally:
        process.kill()
    return process.outcome


@pytest.mark.parametrize('in_file', [True, False])
def test_what_a_library_prints_is_no_message(
    training: Callable[[str], None], tmp_path: Path, capfd: pytest.CaptureFixture, in_file: bool
) -> None:
    training(NOISY)
    told = []
    console = tmp_path / 'console.log' if in_file else None
    process = TrainingProcess(
        Task('c', {}, 'w'), on_evaluation=lambda *args: bool(told.append(args)), console=console
    )
    assert wait(process) == {'outcome': 'done'}
    assert told == [(3, {'mIoU': 50.0})]
    printed = console.read_text(encoding='utf-8') if console else capfd.readouterr().err
    assert printed == 'a line\n한글 without an endgo on\n'


def test_a_message_that_cannot_be_read_ends_the_wait(training: Callable[[str], None]) -> None:
    training(MADE_UP)
    with pytest.raises(json.JSONDecodeError):
        wait(TrainingProcess(Task('c', {}, 'w')))


def test_an_error_of_the_pruner_ends_the_wait(training: Callable[[str], None]) -> None:
    training(NOISY)

    def fails(*_: object) -> bool:
        raise ValueError('no storage')

    with pytest.raises(ValueError, match='no storage'):
        wait(TrainingProcess(Task('c', {}, 'w'), on_evaluation=fails))


def study_of(folder: Path, runs: int) -> RunQueue:
    toy = (ROOT / 'local_configs' / 'toy' / 'segformer.b0.toy.py').as_posix()
    names = ', '.join(f'r{k}=dict(config={toy!r})' for k in range(runs))
    (folder / 'mine.py').write_text(f'study = dict(runs=dict({names}))', encoding='utf-8')
    study = load_study(str(folder / 'mine.py'))
    return RunQueue(study, plan_study(study), open_storage(None, folder / 'out'))


@pytest.mark.parametrize(('code', 'interrupts'), [(OBEDIENT, 1), (STUBBORN, 2)])
def test_a_stopped_study_gives_everything_back(
    training: Callable[[str], None], tmp_path: Path, code: str, interrupts: int
) -> None:
    training(code)
    queue = study_of(tmp_path, 3)
    runner = StudyRunner(queue, tmp_path / 'out', ['0', '1'])

    def interrupt() -> None:
        while sum(t.state == TrialState.RUNNING for t in queue.current().values()) < 2:
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
    assert {state_of(trial) for trial in queue.current().values()} == {'waiting'}


@pytest.mark.slow
def test_a_process_that_lost_its_run_stops_training_it(
    training: Callable[[str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    training(STUBBORN)
    monkeypatch.setattr('mmseg_kd.studies.runner.HEARTBEAT', 2.0)
    queue, other = study_of(tmp_path, 1), study_of(tmp_path, 1)

    def take_over() -> None:
        while not (trials := list(other.current().values())) or 'owner' not in trials[0].user_attrs:
            time.sleep(0.05)
        other.optuna.tell(trials[0].number, state=TrialState.FAIL)
        _, lease = other.claim()
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
    _, claim = queue.claim()
    assert study_state(queue)['runs'][0]['state'] == 'running'
    claim.set('owner', {'host': this_host(), 'processes': [[os.getpid(), 0.0]]})
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
