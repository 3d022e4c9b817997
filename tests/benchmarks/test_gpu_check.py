"""The check of a GPU runs its steps in processes and writes what they record."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import gpu_check


def test_steps_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
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


def test_tests_that_pass_and_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    tests = tmp_path / 'test_two.py'
    tests.write_text(
        'import pytest\npytestmark = pytest.mark.gpu\n'
        "def test_good(record_property):\n    record_property('loss', 0.125)\n"
        'def test_bad():\n    assert 1 == 2\ndef test_other(): ...\n',
        encoding='utf-8',
    )
    steps = {
        'tests': gpu_check.Step(60, f'{tests.as_posix()} -k good or bad'),
        'late': gpu_check.Step(60),
    }
    monkeypatch.setattr(gpu_check, 'STEPS', steps)
    out = tmp_path / 'out'
    monkeypatch.setattr(sys, 'argv', ['gpu_check.py', '--only', 'tests', '--out', str(out)])
    gpu_check.main()
    result = json.loads((out / 'gpu_check.json').read_text(encoding='utf-8'))['tests']
    assert result['state'] == 'failed' and 'assert 1 == 2' in result['log']
    assert result['rows'] == [
        dict(test='test_good', state='passed', loss=0.125),
        dict(test='test_bad', state='failure'),
    ]
    assert '| test_good | passed | 0.125 |' in capsys.readouterr().out

    # A step that failed runs again.
    tests.write_text(tests.read_text().replace('1 == 2', '1 == 1'))
    gpu_check.main()
    result = json.loads((out / 'gpu_check.json').read_text(encoding='utf-8'))['tests']
    assert result['state'] == 'done'
    capsys.readouterr()

    options = ['--only', 'late', '--minutes', '0', '--out', str(out)]
    monkeypatch.setattr(sys, 'argv', ['gpu_check.py', *options])
    gpu_check.main()
    assert capsys.readouterr().out == 'late: no time left\n'
