"""Runs of stock mmsegmentation 1.x are read as our own are; of 0.x a line says what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmseg_kd.errors import UserError
from mmseg_kd.records.run_record import read_run
from mmseg_kd.records.scalars import read_curves


def test_a_work_dir_of_0x_is_refused(tmp_path: Path) -> None:
    (tmp_path / '20210601_120000.log.json').write_text('{"seed": 3}\n', encoding='utf-8')
    for read in (read_run, read_curves):
        with pytest.raises(UserError, match=r'mmsegmentation 0\.x, .* tools/test\.py') as error:
            read(tmp_path)
        assert '\n' not in str(error.value)


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
