"""The check of a GPU runs its steps in processes and writes what they record."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from gpu_steps.step import attempt


def test_a_step_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(ROOT)
    # The module sets both while it is imported.
    monkeypatch.setenv('PYTORCH_NVML_BASED_CUDA_CHECK', '1')
    monkeypatch.setenv('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    import gpu_check

    options = ['--device', 'cpu', '--only', 'device', 'time', '--out', str(tmp_path)]
    monkeypatch.setattr(sys, 'argv', ['gpu_check.py', *options])
    gpu_check.main()
    # The other step needs a GPU.
    results = json.loads((tmp_path / 'gpu_check.json').read_text(encoding='utf-8'))
    assert list(results) == ['device'] and results['device']['state'] == 'done'
    facts = {row['what']: row['value'] for row in results['device']['rows']}
    assert facts['torch'] and facts['cores'] >= 1
    table = (tmp_path / 'gpu_check.md').read_text(encoding='utf-8')
    assert table.startswith('## device: done, ') and f'| torch | {facts["torch"]} |' in table
    assert capsys.readouterr().out.endswith(f'{table}\n')

    gpu_check.main()
    assert not capsys.readouterr().out, 'a step that has results runs again'


def test_a_case_that_fails_is_recorded_and_the_next_one_runs() -> None:
    rows = []
    for run in (lambda: 1 / 0, lambda: sys.exit(2), lambda: rows.append('good')):
        with attempt(lambda **row: rows.append(row), case='x'):
            run()
    assert [row['case'] for row in rows[:2]] == ['x', 'x']
    assert 'ZeroDivisionError' in rows[0]['error'] and rows[2] == 'good'
