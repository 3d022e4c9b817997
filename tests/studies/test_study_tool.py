"""`tools/study.py`, from a study's file to the files that the user finds."""

import json
import shutil
import signal
import sys
import time
from pathlib import Path

import fake_trainings
import pytest
from studying import evaluated, run, start, state, study_file, trained

from mmseg_kd.studies.commands import check_models
from mmseg_kd.studies.config import load_study
from mmseg_kd.studies.plan import plan_study

TOY = 'local_configs/toy'
TWO = """study = dict(baseline='one', runs=dict(
    one=dict(config=CONFIG), two=dict(config=CONFIG, options={'optim_wrapper.optimizer.lr': LR})))
"""


@pytest.mark.slow
def test_a_study_is_interrupted_resumed_edited_and_run_again(tmp_path: Path) -> None:
    study = study_file(tmp_path, TWO.replace('LR', '0.01'), train_cfg__max_iters=12)
    runs = tmp_path / 'out' / 'runs'
    code, _, err = run('status', study)
    assert (code, 'holds no study yet' in err) == (2, True)
    assert not (tmp_path / 'out').exists()

    process = start('run', study, '--no-report')
    until = time.monotonic() + 120
    while not (runs / 'one' / 'seed0' / 'iter_3.pth').exists() and time.monotonic() < until:
        time.sleep(0.05)
    if sys.platform == 'win32':
        process.kill()
    else:
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == (1 if sys.platform == 'win32' else 130)

    code, _, err = run('run', study, '--no-report')
    assert code == 0, err
    assert [(r['name'], r['state']) for r in state(study)['runs']] == [
        ('one', 'done'),
        ('two', 'done'),
    ]
    assert sorted(set(evaluated(runs / 'one' / 'seed0'))) == [3, 6, 9, 12]
    assert trained(runs / 'one' / 'seed0').count(1) == 1
    before = sorted(runs.rglob('*'))

    code, _, _ = run('run', study, '--no-report')
    assert code == 0
    assert sorted(runs.rglob('*')) == before

    study.write_text(study.read_text().replace('0.01', '0.02'))
    code, _, err = run('run', study, '--no-report')
    assert code == 2
    assert 'two seed 0 (optim_wrapper.optimizer.lr 0.01 -> 0.02)' in err
    assert 'delete their folders in ' in err
    assert sorted(runs.rglob('*')) == before

    shutil.rmtree(runs / 'two' / 'seed0')
    code, _, err = run('run', study, '--no-report')
    assert code == 0, err
    assert evaluated(runs / 'two' / 'seed0') == [3, 6, 9, 12]
    assert len(list((runs / 'one' / 'seed0').glob('*/vis_data'))) == 2
    assert state(study)['runs'][1]['options'] == {'optim_wrapper.optimizer.lr': 0.02}


@pytest.mark.slow
def test_a_failure_is_told_and_does_not_end_the_study(tmp_path: Path) -> None:
    # No machine has the memory for one batch of this size.
    huge = "{'model.data_preprocessor.size': [400000, 400000]}"
    # The broken one first.
    text = f"""study = dict(baseline='sound', runs=dict(
        two=dict(config=CONFIG, options={huge}), sound=dict(config=CONFIG)))"""
    study = study_file(tmp_path, text)
    code, _, err = run('run', study, '--no-report')
    assert code == 2
    assert '1 of 2 runs failed: two seed 0: ' in err
    assert '--retry-failed' in err
    assert 'Traceback' not in err.splitlines()[-1]
    rows = {row['name']: row for row in state(study)['runs']}
    assert list(rows) == ['two', 'sound']
    assert rows['sound']['state'] == 'done'
    assert rows['two']['state'] == 'failed'
    assert rows['two']['error'].startswith('out of memory in training, iteration 1: batch 2')
    assert 'train_dataloader.batch_size=1' in rows['two']['error']


def test_a_study_whose_runs_all_fail_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('mmseg_kd.studies.training_process.enter', fake_trainings.failing)
    # The second waits for the first, and never begins.
    second = "two=dict(config=CONFIG, needs={'load_from': 'one'})"
    study = study_file(tmp_path, f'study = dict(runs=dict(one=dict(config=CONFIG), {second}))')
    code, _, err = run('run', study)
    assert code == 2
    assert '1 of 2 runs failed: one seed 0: it broke. Fix the cause and add' in err


def test_a_teacher_that_cannot_be_loaded_is_refused_before_training(tmp_path: Path) -> None:
    teacher, student = f'{TOY}/segformer.b2.toy.py', f'{TOY}/segformer.b0.toy.kd.py'
    text = f"""study = dict(runs=dict(teacher=dict(config={teacher!r}), kd=dict(
        config={student!r}, needs={{'model.teacher.checkpoint': 'teacher'}})))"""
    study = study_file(tmp_path, text)
    check_models(plan_study(load_study(str(study))))
    classes = "{'model.decode_head.num_classes': 5}"
    loss = "{'model.kd_losses.kl_loss.type': 'NoLoss'}"
    for edited, says in (
        (text.replace(teacher, f'{TOY}/segformer.b0.toy.py'), 'the checkpoint of teacher '),
        (text.replace("toy.py'", f"toy.py', options={classes}"), 'the checkpoint of teacher '),
        (text.replace('needs=', f'options={loss}, needs='), 'NoLoss'),
    ):
        assert edited != text
        code, _, err = run('run', study_file(tmp_path, edited))
        assert (code, err.count('\n')) == (2, 1)
        assert err.startswith('error: run kd: ') and says in err
    assert not (tmp_path / 'out').exists()


def test_another_study_in_the_same_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('mmseg_kd.studies.training_process.enter', fake_trainings.failing)
    text = "study = dict(name='NAME', runs=dict(one=dict(config=CONFIG)))"
    run('run', study_file(tmp_path, text.replace('NAME', 'first')))
    before = (tmp_path / 'out' / 'study.json').read_bytes()
    for command in ('run', 'status', 'report'):
        code, _, err = run(command, study_file(tmp_path, text.replace('NAME', 'second')))
        assert code == 2
        assert 'out holds the study first; write another --work-dir' in err
    assert (tmp_path / 'out' / 'study.json').read_bytes() == before


def test_a_database_that_fails_during_a_study_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('mmseg_kd.studies.training_process.enter', fake_trainings.damaging)
    study = study_file(tmp_path, 'study = dict(runs=dict(one=dict(config=CONFIG)))')
    code, _, err = run('run', study)
    assert code == 2
    assert err.count('\n') == 1
    assert 'not answer (no such table: trial_user_attributes); run the same command again' in err


@pytest.mark.slow
def test_best_checkpoints_are_tested_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = 'study = dict(test=True, runs=dict(one=dict(config=CONFIG)))'
    study = study_file(tmp_path, text)
    work_dir = tmp_path / 'out' / 'runs' / 'one' / 'seed0'
    code, out, err = run('run', study, '--no-report')
    assert code == 0, err
    assert 'Warning' not in capfd.readouterr().err
    # The best checkpoint is that of the study's metric, not of the config's save_best.
    (best,) = work_dir.glob('best_mIoU11_iter_*.pth')
    tested = json.loads((work_dir / 'test.json').read_text(encoding='utf-8'))
    assert tested['checkpoint'] == best.name
    assert f'one seed 0: testing {best.name}' in out
    code, out, err = run('run', study, '--no-report')
    assert (code, 'testing' in out) == (0, False)
