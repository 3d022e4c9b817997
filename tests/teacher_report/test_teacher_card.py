"""What is measured of a teacher, and what it is compared with."""

import json
import logging
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import KD_LOSSES, ROOT, tiny_config, tiny_model
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner
from mmengine.structures import PixelData
from teacher_report.calibration_reference import reference

from mmseg_kd.checkpoints import read_checkpoint
from mmseg_kd.distillation.teacher import Teacher
from mmseg_kd.engine import build_runner
from mmseg_kd.errors import UserError
from mmseg_kd.teacher_report import card as teacher_card
from mmseg_kd.teacher_report.card import card_table, card_warnings, find_baseline, measure


def student_config(folder: Path, teacher: dict, **options: Any) -> Config:
    model = tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=KD_LOSSES)
    return tiny_config(folder, model=model, train_cfg__max_iters=1, **options)


def card(folder: Path, teacher: dict, **options: Any) -> dict:
    """The card of a teacher under a student's config, as a run would ask for it."""
    cfg = student_config(folder, teacher, **options)
    data = Runner.build_dataloader(cfg.val_dataloader)
    evaluator = Evaluator(cfg.val_evaluator)
    return teacher_card.teacher_card(Teacher(**teacher), data, evaluator, 'teacher')


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The checkpoints that were measured, rather than looked up."""
    calls = []

    def counted(teacher: Teacher, *args: Any) -> dict:
        calls.append(teacher.checkpoint)
        return measure(teacher, *args)

    monkeypatch.setattr(teacher_card, 'measure', counted)
    return calls


def test_a_card_is_what_the_teacher_gives(tmp_path: Path, teacher: dict) -> None:
    cfg = student_config(
        tmp_path, teacher, val_dataloader__batch_size=2, val_dataloader__dataset__num_images=3
    )
    cfg.val_evaluator.ignore_index = 3
    known = Teacher(**teacher)
    # Sharper, so that there are confidences in every bin.
    known.segmentor.decode_head.linear_pred.weight.data *= 30
    data = Runner.build_dataloader(cfg.val_dataloader)
    torch.manual_seed(5)
    found = measure(known, data, Evaluator(cfg.val_evaluator))
    after = torch.rand(1)
    torch.manual_seed(5)
    assert after == torch.rand(1)
    logits, labels = [], []
    for sample in data.dataset:
        batch = known.segmentor.data_preprocessor(
            {'inputs': [sample['inputs']], 'data_samples': [sample['data_samples']]}
        )
        x = known.segmentor.decode_head(known.segmentor.extract_feat(batch['inputs']))
        label = sample['data_samples'].gt_sem_seg.data[0]
        x = torch.nn.functional.interpolate(
            x, size=label.shape, mode='bilinear', align_corners=False
        )
        logits.append(x[0].permute(1, 2, 0).detach().numpy())
        labels.append(label.numpy())
    logits, labels = np.stack(logits), np.stack(labels)
    entropy, ece = reference(logits, labels, ignore_index=3)
    assert found['entropy'] == pytest.approx(entropy, rel=1e-4)
    assert found['ece'] == pytest.approx(ece, abs=1e-4)
    assert found['deterministic'] is True
    counted = labels != 3
    assert 0 < counted.mean() < 1
    accuracy = 100 * (logits.argmax(axis=-1) == labels)[counted].mean()
    assert found['metrics']['aAcc'] == pytest.approx(accuracy, abs=0.02)


def test_one_who_answers_twice_differently_is_recorded(tmp_path: Path, teacher: dict) -> None:
    cfg = student_config(tmp_path, teacher)
    cfg.val_dataloader.dataset.num_images = 1
    known = Teacher(**teacher)
    known.segmentor.backbone.register_forward_hook(
        lambda module, inputs, stages: [x + 1e-3 * torch.rand_like(x) for x in stages]
    )
    data = Runner.build_dataloader(cfg.val_dataloader)
    found = teacher_card.teacher_card(known, data, Evaluator(cfg.val_evaluator), 'teacher')
    assert found['deterministic'] is False
    assert found['data'].endswith(', 1 images')
    assert '| NO |' in re.sub(' +', ' ', card_table({'teacher': found}))


def test_logits_that_are_not_finite_stop_the_run(tmp_path: Path, teacher: dict) -> None:
    weights = torch.load(teacher['checkpoint'], weights_only=True)
    weights['state_dict']['decode_head.linear_pred.weight'].fill_(3e38)
    torch.save(weights, teacher['checkpoint'])
    with pytest.raises(UserError, match=r"teacher's logits are not all finite .*teacher\.pth"):
        card(tmp_path, teacher)


def test_a_run_keeps_the_card(tmp_path: Path, teacher: dict, measured: list[str]) -> None:
    build_runner(student_config(tmp_path, teacher)).train()
    assert len(measured) == 1
    record = json.loads((tmp_path / 'teacher.json').read_text())
    checkpoint = read_checkpoint(tmp_path / 'iter_1.pth')
    assert checkpoint['message_hub']['runtime_info']['teacher'] == record
    assert record['metrics'].keys() >= {'mIoU', 'mIoU11'}
    assert len(record['sha256']) == 64
    assert record['baseline'] is None
    assert record['difference'] is None
    (text,) = tmp_path.glob('*/*.log')
    assert '| deterministic |' in text.read_text()


def test_a_metric_that_is_nan_is_left_out(
    tmp_path: Path, teacher: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {'mIoU': 40.0, 'mJunctionIoU': float('nan')}
    monkeypatch.setattr(Evaluator, 'evaluate', lambda self, size: found)
    assert card(tmp_path, teacher)['metrics'] == {'mIoU': 40.0}


def test_labels_of_another_size_are_one_line(
    tmp_path: Path, teacher: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg, known = student_config(tmp_path, teacher), Teacher(**teacher)
    predict = known.segmentor.test_step

    def with_small_labels(batch: dict) -> list:
        samples = predict(batch)
        for sample in samples:
            sample.gt_sem_seg = PixelData(data=sample.gt_sem_seg.data[:, :9])
        return samples

    monkeypatch.setattr(known.segmentor, 'test_step', with_small_labels)
    data = Runner.build_dataloader(cfg.val_dataloader)
    with pytest.raises(UserError, match='move LoadAnnotations behind Resize'):
        measure(known, data, Evaluator(cfg.val_evaluator))


def test_an_inline_teacher_is_named(tmp_path: Path, teacher: dict) -> None:
    assert card(tmp_path, teacher | dict(config=tiny_model()))['config'] == '(inline)'


def test_nothing_is_measured_where_it_is_not_asked_for(
    tmp_path: Path, teacher: dict, measured: list[str]
) -> None:
    cfg = student_config(tmp_path / 'run', teacher | dict(baseline=50.0))
    cfg.default_hooks.teacher_record.evaluate = False
    build_runner(cfg).train()
    assert not measured
    record = json.loads((tmp_path / 'run' / 'teacher.json').read_text())
    assert record['metrics'] == {}
    assert record['entropy'] is record['deterministic'] is record['difference'] is None
    assert record['baseline'] == dict(mIoU=50.0, source='model.teacher.baseline')


def scalars(work_dir: Path, start: str, rows: list[dict], tail: str = '') -> None:
    file = work_dir / start / 'vis_data' / 'scalars.json'
    file.parent.mkdir(parents=True)
    file.write_text('\n'.join(map(json.dumps, rows)) + tail)


def test_the_baseline_is_a_number_or_a_run(tmp_path: Path) -> None:
    assert find_baseline(None) is None
    assert find_baseline(64) == dict(mIoU=64.0, source='model.teacher.baseline')
    assert find_baseline(64.09)['mIoU'] == 64.09
    loss = dict(loss=1.0, step=1)
    # The best of both starts of a run, the last line of one cut short.
    rows = [loss, dict(mIoU=40.5, mIoU11=43.0, step=300), dict(mIoU=61.25, step=600)]
    scalars(tmp_path, '20250101_000000', rows, tail='\n{"mIoU": 99.0, "st')
    later = [dict(loss=1.0, step=700), dict(mIoU=58.0, step=900), dict(mIoU='high')]
    scalars(tmp_path, '20250102_000000', later)
    found = find_baseline(str(tmp_path))
    assert found == dict(mIoU=61.25, source=f'{tmp_path}, iteration 600')


@pytest.mark.parametrize('baseline', [0.64, 1, -3.0, 101.0, float('nan'), True, ['a']])
def test_a_baseline_is_in_percent(baseline: Any) -> None:
    with pytest.raises(UserError, match=r'model\.teacher\.baseline: .* is not an mIoU in percent'):
        find_baseline(baseline)


def test_a_baseline_that_is_not_there(tmp_path: Path, teacher: dict, measured: list[str]) -> None:
    with pytest.raises(UserError, match=r'model\.teacher\.baseline: the work_dir .*lost does not'):
        card(tmp_path, teacher | dict(baseline=str(tmp_path / 'lost')))
    scalars(tmp_path / 'never', '20250101_000000', [dict(loss=1.0, step=1)])
    with pytest.raises(UserError, match=r'model\.teacher\.baseline: .*never has no evaluation'):
        card(tmp_path, teacher | dict(baseline=str(tmp_path / 'never')))
    # The mistake is told before the teacher is measured.
    assert not measured


def test_a_teacher_below_the_baseline_is_told(
    tmp_path: Path, teacher: dict, caplog: pytest.LogCaptureFixture
) -> None:
    miou = card(tmp_path, teacher)['metrics']['mIoU']
    worse = card(tmp_path, teacher | dict(baseline=round(miou + 3.8, 2)))
    assert worse['difference'] == -3.8
    (warning,) = card_warnings({'teacher': worse})
    assert warning.startswith("the teacher does not beat the student's baseline: its mIoU is ")
    assert f'{miou:.2f}, 3.80 points less than the {miou + 3.8:.2f} of' in warning
    assert 'A teacher like this rarely helps: improve it first' in warning
    (equal,) = card_warnings({'teacher': worse | dict(difference=0.0)})
    assert f'its mIoU is {miou:.2f}, only as much as the' in equal

    scalars(tmp_path / 'low', '20250101_000000', [dict(mIoU=miou - 0.25, step=7)])
    better = card(tmp_path, teacher | dict(baseline=str(tmp_path / 'low')))
    assert better['difference'] == 0.25
    assert not list(card_warnings({'teacher': better}))

    (tmp_path / 'run').mkdir()
    runner = build_runner(student_config(tmp_path / 'run', teacher | dict(baseline=99)))
    with caplog.at_level(logging.WARNING):
        runner.train()
    (text,) = (tmp_path / 'run').glob('*/*.log')
    log = text.read_text()
    assert "WARNING - the teacher does not beat the student's baseline" in log
    # The checkpoint of the fixture has no `meta`.
    assert 'names no classes, so their order is not compared' in log


def test_several_teachers_have_a_record_each(tmp_path: Path, teacher: dict) -> None:
    torch.manual_seed(2)
    weights = read_checkpoint(teacher['checkpoint'])['state_dict']
    weights['decode_head.linear_pred.bias'] = torch.randn(12)
    torch.save({'state_dict': weights}, tmp_path / 'second.pth')
    second = teacher | dict(checkpoint=str(tmp_path / 'second.pth'))
    # The average of the student has no file, so no record.
    several = dict(large=teacher, small=second | dict(baseline=99), average=dict(type='EMATeacher'))
    cfg = student_config(tmp_path / 'run', several)
    build_runner(cfg).train()
    records = json.loads((tmp_path / 'run' / 'teacher.json').read_text())
    assert list(records) == ['large', 'small']
    assert records['large']['checkpoint'] == teacher['checkpoint']
    assert records['small']['metrics'] != records['large']['metrics']
    source = 'model.teacher.small.baseline'
    assert records['small']['baseline'] == dict(mIoU=99.0, source=source)
    (text,) = (tmp_path / 'run').glob('*/*.log')
    assert "the teacher 'small' does not beat the student's baseline" in text.read_text()
    hub = read_checkpoint(tmp_path / 'run' / 'iter_1.pth')['message_hub']
    assert hub['runtime_info']['teacher'] == records


@pytest.mark.slow
def test_two_processes_measure_what_one_does(tmp_path: Path, teacher: dict) -> None:
    # Three images: two processes see one of them twice.
    options = dict(val_dataloader__dataset__num_images=3)
    alone = card(tmp_path, teacher, **options)
    cfg = student_config(tmp_path / 'run', teacher, **options)
    # On the CPU it becomes BN.
    cfg.model.decode_head.norm_cfg.type = 'SyncBN'
    cfg.dump(tmp_path / 'config.py')
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    command = [sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2']
    command += [f'--master_port={port}', str(ROOT / 'tools/train.py')]
    done = subprocess.run(
        [*command, str(tmp_path / 'config.py'), '--launcher', 'pytorch'],
        cwd=ROOT,
        env=os.environ | dict(OMP_NUM_THREADS='1'),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    together = json.loads((tmp_path / 'run' / 'teacher.json').read_text())
    for key in ('entropy', 'ece'):
        assert together[key] == pytest.approx(alone.pop(key), rel=1e-9)
        del together[key]
    assert together == alone
