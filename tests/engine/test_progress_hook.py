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
