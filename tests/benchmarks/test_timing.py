"""What is timed is the run, in turns; the steps of stock and of this project are compared."""

import time
from typing import Any

import pytest
from conftest import ROOT

from gpu_steps import speed
from measuring.stock import stock_model
from measuring.timing import interleaved
from mmseg_kd.config import load_config
from mmseg_kd.errors import UserError


def test_each_turn_times_the_second_call_of_each() -> None:
    ran = []

    def run(name: str, seconds: float) -> None:
        ran.append(name)
        time.sleep(seconds)

    runs = dict(slow=lambda: run('slow', 0.04), fast=lambda: run('fast', 0.01))
    seconds = interleaved(runs, repeats=2, warmup=1)
    assert ran == 3 * ['slow', 'slow', 'fast', 'fast']
    # A loaded machine may sleep longer, never shorter.
    assert [x >= 0.04 for x in seconds['slow']] == [True, True]
    assert [x >= 0.01 for x in seconds['fast']] == [True, True]


@pytest.mark.slow
def test_the_steps_of_stock_and_this_project_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(speed, 'SEGFORMER', 'local_configs/toy/segformer.b0.toy')
    monkeypatch.setattr(speed, 'SIDE', 64)
    monkeypatch.setattr(speed, 'ROUNDS', 1)
    rows: list[dict[str, Any]] = []
    speed.steps('cpu', lambda **row: rows.append(row))
    assert [(row['setting'], row['run']) for row in rows] == [
        ('kd, float32', 'stock'),
        ('kd, float32', 'eager'),
        ('base, float32', 'stock'),
        ('base, float32', 'eager'),
    ]
    assert all(0 < row['least'] <= row['ms'] <= row['most'] for row in rows)
    memory = [row['activations_MiB'] for row in rows]
    assert memory[0] / memory[1] > 1.2 and memory[2] / memory[3] > 1.2
    assert rows[1]['times_stock'] == rows[0]['ms'] / rows[1]['ms']


def test_a_model_that_stock_does_not_have() -> None:
    model = load_config(str(ROOT / 'local_configs/toy/segformer.b0.toy.py')).model
    model.decode_head.type = 'FCNHead'
    with pytest.raises(UserError, match='FCNHead'):
        stock_model(model)
