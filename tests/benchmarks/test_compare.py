"""The benchmark measures plain and distillation configs and writes what it measured."""

import json
from pathlib import Path

import pytest
from conftest import run

TOY = 'local_configs/toy/'
TOOL = '../benchmarks/compare.py'


@pytest.mark.slow
def test_a_plain_and_a_distillation_config(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / 'benchmark.json'
    code = run(
        TOOL, TOY + 'segformer.b0.toy.py', TOY + 'segformer.b0.toy.kd.py',
        '--repeats', '1', '--size', '64', '64', '--out', str(out),
    )  # fmt: skip
    assert code == 0
    written = json.loads(out.read_text())
    assert written['about']['torch']
    rows = written['rows']
    assert [row['what'] for row in rows] == [
        'training step', 'training memory', 'inference', 'training step', 'training memory',
    ]  # fmt: skip
    for row in rows:
        assert row['ratio']['n'] == len(row['stock']) == len(row['mmseg_kd'])
        assert row['ratio']['least'] <= row['ratio']['median'] <= row['ratio']['greatest']
        assert all(x > 0 for x in row['stock'] + row['mmseg_kd'])
    memory = [row for row in rows if row['what'] == 'training memory']
    assert all(row['ratio']['median'] > 1.2 and row['unit'] == 'MiB' for row in memory)

    capsys.readouterr()
    assert run(TOOL, TOY + 'segformer.b0.toy.py', '--out', out) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f'{out} exists' in line


def test_a_model_that_stock_does_not_have(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config = tmp_path / 'other.py'
    base = (Path(__file__).parents[2] / TOY / 'segformer.b0.toy.py').as_posix()
    config.write_text(
        f'_base_ = {base!r}\n'
        "model = dict(decode_head=dict(_delete_=True, type='FCNHead', in_channels=256, in_index=3,"
        " channels=16, num_classes=12, loss_decode=dict(type='CrossEntropyLoss')))\n"
    )
    assert run(TOOL, config) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert 'mmseg has no counterpart of mit_b0 with FCNHead' in line
