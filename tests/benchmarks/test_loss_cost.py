"""The cost of each loss is measured on top of the config's first."""

import json
from pathlib import Path

import pytest
from conftest import ROOT, run

from measuring.steps import PLAIN, REPORT

KD = 'local_configs/toy/segformer.b0.toy.kd.py'
TOOL = '../benchmarks/loss_cost.py'


@pytest.mark.slow
def test_each_loss_and_the_report(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / 'cost.json'
    assert run(TOOL, KD, '--repeats', '1', '--size', '64', '64', '--out', str(out)) == 0
    shown = capsys.readouterr().out
    assert 'gradient report, every 50 iterations' in shown
    written = json.loads(out.read_text())
    assert list(written['seconds']) == [PLAIN, REPORT, 'at_loss', 'sp_loss']
    assert all(value > 0 for values in written['seconds'].values() for value in values)
    # Attention maps of four stages are kept for the backward pass.
    assert written['peak_mib']['at_loss'] > written['peak_mib'][PLAIN] > 0


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run(TOOL, 'local_configs/toy/segformer.b0.toy.py') == 2
    assert 'has no model.kd_losses' in capsys.readouterr().err
    config = tmp_path / 'average.py'
    config.write_text(
        f'_base_ = {(ROOT / KD).as_posix()!r}\n'
        "model = dict(teacher=dict(_delete_=True, type='EMATeacher'))\n"
    )
    assert run(TOOL, config) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert 'one teacher with a config file' in line
