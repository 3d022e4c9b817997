"""The examples run, and their students learn."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_a_distillation_loop_in_plain_pytorch(capsys: pytest.CaptureFixture[str]) -> None:
    example = runpy.run_path(str(ROOT / 'examples' / 'minimal_kd.py'))
    example['main'](4)
    losses = re.findall(
        r'(\w+): loss ([\d.]+) at the first iteration, ([\d.]+) at', capsys.readouterr().out
    )
    assert [name for name, _, _ in losses] == ['teacher', 'student']
    assert all(float(last) < float(first) for _, first, last in losses)
    # The student's loss also has the terms of its teacher.
    assert float(losses[1][1]) > float(losses[0][1])
