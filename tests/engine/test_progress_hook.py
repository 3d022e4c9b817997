"""The live progress line: on a terminal, and nowhere else."""

import io
import sys
from pathlib import Path

import pytest
from conftest import tiny_config

from mmseg_kd.engine import build_runner


@pytest.mark.parametrize('terminal', [True, False])
def test_a_training_shows_its_place_on_a_terminal(
    terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, 'isatty', lambda: terminal)
    monkeypatch.setattr(sys, 'stderr', stream)
    build_runner(tiny_config(tmp_path)).train()
    shown = stream.getvalue()
    # 6 iterations, evaluated on 2 images.
    assert ('train:   0%' in shown and '/6 [' in shown) is terminal
    assert ('val:   0%' in shown and '/2 [' in shown) is terminal


@pytest.mark.parametrize('level', ['INFO', 'ERROR'])
def test_the_console_keeps_its_level(
    level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True)
    build_runner(tiny_config(tmp_path, log_level=level)).train()
    assert ('Iter(val)' in capsys.readouterr().out) is (level == 'INFO')
