"""The benchmark runs every mode on the toy configs and writes what it measured."""

import json
from functools import partial
from pathlib import Path

import pytest
from conftest import run

from measuring import runs

TOY = 'local_configs/toy/'


@pytest.mark.slow
def test_every_mode(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, 'loop_runs', partial(runs.loop_runs, iterations=1))
    out = tmp_path / 'benchmark.json'
    code = run(
        '../benchmarks/compare.py',
        TOY + 'segformer.b0.toy.py',
        TOY + 'segformer.b0.toy.kd.py',
        '--modes', 'train', 'kd', 'infer', 'memory', 'loop',
        '--repeats', '1', '--size', '64', '64', '--out', str(out),
        '--cfg-options', 'train_dataloader.dataset.num_images=8',
        'train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False',
    )  # fmt: skip
    assert code == 0
    written = json.loads(out.read_text())
    assert written['about']['torch']
    rows = {(row['mode'], row['setting']): row for row in written['rows']}
    assert {mode for mode, _ in rows} == {'train', 'kd', 'infer', 'memory', 'loop'}
    for row in rows.values():
        assert row['ratio']['n'] == len(row['stock']) == len(row['mmseg_kd'])
        assert row['ratio']['least'] <= row['ratio']['median'] <= row['ratio']['greatest']
        assert all(x > 0 for x in row['stock'] + row['mmseg_kd'])
    memory = [row for row in rows.values() if row['mode'] == 'memory']
    assert all(row['ratio']['median'] > 1.2 and row['unit'] == 'MiB' for row in memory)

    capsys.readouterr()
    assert run('../benchmarks/compare.py', TOY + 'segformer.b0.toy.py', '--out', out) == 2
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
    assert run('../benchmarks/compare.py', config, '--modes', 'train') == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert 'FCNHead' in line
