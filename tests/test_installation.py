from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from mmseg_kd.installation import mixed_installation

TOOLS = sorted(path for path in (ROOT / 'tools').rglob('*.py'))


def install(folder: Path, *names: str) -> Path:
    """What pip leaves of a distribution, as far as its name goes."""
    for name in names:
        info = folder / f'{name.replace("-", "_")}-9.9.dist-info'
        info.mkdir(parents=True)
        (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: 9.9\n')
    return folder


def test_this_environment_has_the_forks_alone() -> None:
    assert mixed_installation() is None


@pytest.mark.parametrize(
    'names',
    [
        ['mmengine'],
        ['mmcv'],
        ['mmcv-full'],
        ['mmcv-lite'],
        ['mmsegmentation'],
        ['mmengine', 'mmcv', 'mmsegmentation'],
    ],
)
def test_upstream_beside_the_forks_is_named_with_the_commands(
    names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(install(tmp_path / 'site', *names))
    problem = mixed_installation()
    forks = 'onedl-mmengine onedl-mmcv onedl-mmsegmentation'
    assert problem.startswith(' and '.join(names))
    assert f'`pip uninstall -y {" ".join(names)} {forks}`, then `pip install {forks}`' in problem
    assert 'fresh environment' in problem
    assert '\n' not in problem


@pytest.mark.parametrize('tool', TOOLS, ids=lambda path: path.stem)
def test_every_tool_looks_before_it_imports_what_may_be_mixed(tool: Path) -> None:
    imports = [
        name.partition('.')[0]
        for node in ast.parse(tool.read_text(encoding='utf-8')).body
        for name in (
            [node.module]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in getattr(node, 'names', ())]
        )
    ]
    mixed = [name for name in imports if name in ('mmengine', 'mmcv', 'mmseg', 'mmseg_kd')]
    assert mixed[0] == 'mmseg_kd'


@pytest.mark.parametrize(
    'arguments', [['tools/misc/print_config.py', 'x'], ['-c', 'import mmseg_kd']]
)
def test_importing_the_project_says_so_and_stops(arguments: list[str], tmp_path: Path) -> None:
    site = install(tmp_path / 'site', 'mmsegmentation')
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join([str(site), str(ROOT)])},
        capture_output=True,
        text=True,
        encoding='utf-8',
    )
    assert result.returncode == 2
    assert result.stdout == ''
    assert result.stderr.startswith('error: mmsegmentation is installed')
    assert result.stderr.count('\n') == 1
