"""Runs of mmsegmentation 0.x and of stock 1.x, read as our own are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import run

from mmseg_kd.records.run_record import read_run
from mmseg_kd.records.scalars import read_curves
from mmseg_kd.teacher_report.card import find_baseline

CONFIG = """norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(type='EncoderDecoder', backbone=dict(type='mit_b0', style='pytorch'))
runner = dict(type='IterBasedRunner', max_iters=600)
optimizer = dict(type='AdamW', lr=6e-05)
gpu_ids = range(0, 1)
"""


def old_run(folder: Path, images: int | None, scores: tuple[float, ...] = (0.31, 0.42)) -> Path:
    """Write the log of a training with 0.x, evaluated every 300 iterations.

    Args:
        folder: The work_dir.
        images: Of the validation, which later versions log as `iter`; early ones log the
            iteration, and no line of training at it.
        scores: mIoU of the evaluations.
    """
    lines = [dict(env_info='sys.platform: linux', seed=3, exp_name='b0.py', config=CONFIG)]
    for i in range(100, 300 * len(scores) + 1, 100):
        train = dict(mode='train', epoch=1, iter=i, lr=6e-5 / i, memory=3000, data_time=0.01)
        train |= {'decode.loss_seg': 40 / i, 'decode.acc_seg': 55.0, 'loss': 40 / i, 'time': 0.5}
        lines += [] if i % 300 == 0 and images is None else [train]
        if i % 300 == 0:
            score = scores[i // 300 - 1]
            val = dict(mode='val', epoch=1, iter=images or i, lr=6e-5 / i, aAcc=0.9, mIoU=score)
            lines.append(val | {'mAcc': 0.5, 'IoU.sky': 0.8765, 'IoU.car': 0.4, 'Acc.sky': 0.9})
    folder.mkdir(parents=True)
    text = ''.join(f'{json.dumps(line)}\n' for line in lines)
    (folder / '20210601_120000.log.json').write_text(text + '{"mode": "tr', encoding='utf-8')
    (folder / '20210601_120000.log').write_text('2021-06-01 12:00:00,001 - mmseg - INFO - a\n')
    return folder


@pytest.mark.parametrize('images', [None, 101, 2000])
def test_a_work_dir_of_0x(tmp_path: Path, images: int | None) -> None:
    record = read_run(old_run(tmp_path / 'first', images))
    assert [(row['iteration'], row['mIoU']) for row in record.evaluations] == [(300, 31), (600, 42)]
    assert record.metrics == ['aAcc', 'mIoU', 'mAcc']
    assert record.classes[600].iou == {'sky': 87.65, 'car': 40.0}
    steps = [100, 200, 300, 400, 500, 600]
    assert record.training['step'].tolist() == [s for s in steps if images or s % 300]
    assert record.training['loss'][:2].tolist() == [0.4, 0.2]
    assert (record.seed, record.max_iters, record.state) == (3, 600, 'done')
    assert record.setting('model', 'backbone', 'type') == 'mit_b0'
    assert not record.notes
    found = find_baseline(str(tmp_path / 'first'))
    assert found == {'mIoU': 42.0, 'source': f'{tmp_path / "first"}, iteration 600'}
    curves = read_curves(tmp_path / 'first' / '20210601_120000.log.json')
    assert curves['mIoU'] == {300: 31.0, 600: 42.0} and curves['IoU.car'] == {300: 40, 600: 40}
    assert curves['time'][100] == 0.5 and 'iter' not in curves


def test_a_run_of_0x_without_its_config(tmp_path: Path) -> None:
    file = old_run(tmp_path / 'first', 101) / '20210601_120000.log.json'
    text = file.read_text(encoding='utf-8')
    file.write_text(text.partition('\n')[2], encoding='utf-8')
    record = read_run(tmp_path / 'first')
    assert (record.seed, record.max_iters, len(record.evaluations)) == (None, None, 2)
    file.write_text(text.replace('norm_cfg = dict(', 'norm_cfg = ', 1), encoding='utf-8')
    (note,) = read_run(tmp_path / 'first').notes
    assert 'log.json: the config cannot be read' in str(note)


def test_a_work_dir_of_stock_1x(tmp_path: Path) -> None:
    folder = tmp_path / 'stock' / '20260101_000000' / 'vis_data'
    folder.mkdir(parents=True)
    train = {'lr': 1e-4, 'data_time': 0.01, 'loss': 1.5, 'decode.loss_ce': 1.5, 'time': 0.2}
    rows = [
        train | {'iter': 50, 'memory': 3000, 'step': 50},
        {'aAcc': 80.0, 'mIoU': 44.5, 'mAcc': 60.0, 'data_time': 0.1, 'time': 0.2, 'step': 50},
    ]
    for name in ('scalars.json', '20260101_000000.json'):
        (folder / name).write_text(''.join(f'{json.dumps(row)}\n' for row in rows))
    (folder / 'config.py').write_text("train_cfg = dict(type='IterBasedTrainLoop', max_iters=50)\n")
    record = read_run(tmp_path / 'stock')
    assert record.best('mIoU') == {'iteration': 50, 'aAcc': 80.0, 'mIoU': 44.5, 'mAcc': 60.0}
    assert record.state == 'done'


def test_the_tools_show_old_runs_next_to_new_ones(
    tmp_path: Path, trained: Path, capfd: pytest.CaptureFixture
) -> None:
    first = old_run(tmp_path / 'first', 101)
    out = tmp_path / 'curves.png'
    keys = ('--keys', 'mIoU', 'loss', '--out', out)
    assert run('analysis_tools/analyze_logs.py', first, trained / 'run', *keys) == 0
    assert out.stat().st_size > 5000
    for folders in ((first,), (first, old_run(tmp_path / 'b', None), trained / 'run')):
        report = tmp_path / f'report{len(folders)}'
        arguments = (*folders, '--out', report, '--images', 0)
        assert run('analysis_tools/report.py', *arguments) == 0, capfd.readouterr().err
        text = (report / 'report.md').read_text(encoding='utf-8')
        assert '42.00' in text and 'first' in text
    (tmp_path / 'empty').mkdir()
    assert run('analysis_tools/report.py', tmp_path / 'empty') == 2
    assert 'nor the *.log.json of mmsegmentation 0.x' in capfd.readouterr().err
