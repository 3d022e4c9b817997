"""A study trains what is left: after edits, deleted folders and failures."""

from pathlib import Path
from unittest.mock import Mock
from uuid import uuid4

import pytest
import torch
from conftest import ROOT
from mmengine.config import Config
from optuna.trial import TrialState
from test_run_queue import LIST, TOY, planned, queue

from mmseg_kd.errors import UserError
from mmseg_kd.studies import training
from mmseg_kd.studies.runner import StudyRunner
from mmseg_kd.studies.sharing.run_queue import RunQueue


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture
def runs(tmp_path: Path) -> RunQueue:
    return queue(*planned(tmp_path, LIST), str(tmp_path / 'study.db'))


def fail(monkeypatch: pytest.MonkeyPatch, error: str) -> None:
    """Let every training fail at once."""
    monkeypatch.setattr('mmseg_kd.studies.runner.run_training', lambda *_: error)


def test_a_finished_run_without_its_folder_is_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: RunQueue
) -> None:
    fail(monkeypatch, 'it broke')
    runs.claim().finish(TrialState.COMPLETE, 1.0)
    state = StudyRunner(runs, tmp_path / 'out').run()
    assert [(run['name'], run['error']) for run in state['runs']] == [
        ('a', 'it broke'),
        ('b', None),
    ]


def test_a_run_that_was_renamed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    fail(monkeypatch, 'it broke')
    where, name = str(tmp_path / 'study.db'), repr(uuid4().hex)
    queue(*planned(tmp_path, LIST, NAME=name), where).claim().finish(TrialState.COMPLETE, 1.0)
    renamed = planned(tmp_path, LIST.replace("'a'", "'c'").replace('a=', 'c='), NAME=name)
    StudyRunner(queue(*renamed, where), tmp_path / 'out').run()
    assert 'study.py: a; a renamed run is trained anew' in capsys.readouterr().out


def test_checkpoints_of_an_unknown_training_are_refused(tmp_path: Path, runs: RunQueue) -> None:
    checkpoint = tmp_path / 'out' / 'runs' / 'a' / 'seed0' / 'iter_3.pth'
    checkpoint.parent.mkdir(parents=True)
    torch.save({}, checkpoint)
    with pytest.raises(UserError, match='has checkpoints that are unknown to this storage'):
        StudyRunner(runs, tmp_path / 'out').run()


def test_a_failed_run_whose_config_and_folder_are_gone_is_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: RunQueue
) -> None:
    fail(monkeypatch, 'it broke again')
    lease = runs.claim()
    lease.set('error', 'it broke')
    lease.finish(TrialState.FAIL)
    assert StudyRunner(runs, tmp_path / 'out').run()['runs'][0]['error'] == 'it broke'
    edited = LIST.replace('seeds=[0])', "seeds=[0], options={'optim_wrapper.optimizer.lr': 0.1})")
    again = planned(tmp_path, edited, NAME=repr(runs.study.name))
    runs = queue(*again, str(tmp_path / 'study.db'))
    assert StudyRunner(runs, tmp_path / 'out').run()['runs'][0]['error'] == 'it broke again'


def test_a_search_may_draw_what_other_settings_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Config] = []
    monkeypatch.setattr(training, 'build_runner', lambda cfg: built.append(cfg) or Mock())
    config = tmp_path / 'mine.py'
    config.write_text(f'_base_ = {(ROOT / TOY).as_posix()!r}')
    space = {'crop_size': dict(type='choice', choices=[(64, 64), (64, 96)])}
    text = (
        f'study = dict(name=NAME, runs=dict(a=dict(config={config.as_posix()!r})), '
        f'search=dict(run="a", trials=1, space={space!r}))'
    )
    study, plan = planned(tmp_path, text)
    runs = queue(study, plan, str(tmp_path / 'study.db'))
    lease = runs.claim()
    task = StudyRunner(runs, tmp_path / 'out')._task(lease)
    training._train(task)
    assert built[0].model.data_preprocessor.size == lease.params['crop_size']
    config.write_text(f'{config.read_text()}\nmodel = dict(backbone=dict(drop_path_rate=0.1))')
    with pytest.raises(UserError, match=r'mine.py was edited while the study ran'):
        training._train(task)
