"""Help and a mistake in a config's text do not wait for torch and mmseg to be imported."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

# Seconds of processor time; about 0.3 here, 6 with torch and mmseg.
BOUND = 2.0


def start(tool: str, *arguments: object) -> tuple[int, str, set[str], float]:
    """Run a tool in a process: exit code, what it says, modules imported, processor seconds."""
    before = os.times()
    command = [sys.executable, '-X', 'importtime', str(ROOT / 'tools' / tool), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, encoding='utf-8', errors='replace')
    after = os.times()
    seconds = sum(after[2:4]) - sum(before[2:4])
    # -X importtime writes a line for each module.
    modules = set(re.findall(r'^import time: .*\| +(\S+)$', done.stderr, flags=re.MULTILINE))
    said = [line for line in done.stderr.splitlines() if not line.startswith('import time:')]
    return done.returncode, '\n'.join([done.stdout, *said]).strip(), modules, seconds


@pytest.mark.parametrize('tool', ['train.py', 'test.py'])
@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        (None, r'error: the config \S*config\.py does not exist'),
        ('model = dict(\n  a = = 3)\n', r'error: \S*config\.py, line 2: .*'),
        ('_base_ = "config.py"\n', r'error: .* leads back to the file itself: .*'),
    ],
)
def test_a_mistake_is_found_at_once(
    tool: str, text: str | None, expected: str, tmp_path: Path
) -> None:
    config = tmp_path / 'config.py'
    if text is not None:
        config.write_text(text, encoding='utf-8')
    arguments = [config] if tool == 'train.py' else [config, 'missing.pth']
    code, said, modules, seconds = start(tool, *arguments)
    assert code == 2
    assert re.fullmatch(expected, said), said
    assert 'mmseg_kd.command_line' in modules
    assert not {'torch', 'mmseg.models'} & modules
    assert seconds < BOUND


@pytest.mark.parametrize('tool', ['train.py', 'test.py'])
def test_help_comes_at_once(tool: str) -> None:
    code, said, modules, seconds = start(tool, '--help')
    assert code == 0 and said.startswith('usage:')
    assert not {'torch', 'mmseg.models'} & modules
    assert seconds < BOUND


@pytest.mark.slow
def test_importing_the_package_registers_everything(tmp_path: Path) -> None:
    script = tmp_path / 'script.py'
    script.write_text(
        'import mmseg_kd\n'
        'from mmseg.registry import HOOKS, MODELS\n'
        "print('KDEncoderDecoder' in MODELS.module_dict, HOOKS.get('GradientReportHook'))\n",
        encoding='utf-8',
    )
    done = subprocess.run([sys.executable, script], capture_output=True, encoding='utf-8')
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('True <class')


@pytest.mark.slow
def test_a_module_of_the_user_finds_everything_registered(tmp_path: Path) -> None:
    (tmp_path / 'mine.py').write_text(
        'from mmseg.registry import MODELS\n'
        "assert 'KDEncoderDecoder' in MODELS.module_dict\n"
        "raise SystemExit('read to its end')\n",
        encoding='utf-8',
    )
    config = tmp_path / 'config.py'
    config.write_text("custom_imports = dict(imports=['mine'])\n", encoding='utf-8')
    environment = os.environ | {'PYTHONPATH': os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run(
        [sys.executable, ROOT / 'tools' / 'train.py', config],
        capture_output=True,
        encoding='utf-8',
        env=environment,
    )
    assert done.returncode == 2
    assert 'must not end the program' in done.stderr


def test_a_report_prints_no_notes_of_other_libraries() -> None:
    code, said, _, _ = start('analysis_tools/report.py', '--help')
    assert code == 0
    assert said.startswith('usage: report.py')
