"""Make studies whose trainings take seconds, and run the tool on them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout, suppress
from io import StringIO
from pathlib import Path

from conftest import ROOT, tiny_config
from conftest import run as run_tool


def study_file(folder: Path, text: str, **options: object) -> Path:
    """Write a study of the tiny model; CONFIG in its text stands for the config file."""
    config = folder / 'tiny.py'
    tiny_config(folder / 'unused', **options).dump(config)
    file = folder / 'study.py'
    file.write_text(text.replace('CONFIG', repr(config.as_posix())), encoding='utf-8')
    return file


def start(command: str, study: Path, *arguments: object) -> subprocess.Popen:
    """Start tools/study.py on a study; it writes into `out` next to the study's file."""
    arguments = ('--work-dir', study.parent / 'out', *arguments)
    return subprocess.Popen(
        [sys.executable, str(ROOT / 'tools' / 'study.py'), command, str(study)]
        + [str(argument) for argument in arguments],
        cwd=ROOT,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding='utf-8',
        errors='replace',
    )


def run(command: str, study: Path, *arguments: object) -> tuple[int, str, str]:
    """Run tools/study.py in this process; its exit code, standard output and standard error."""
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        code = run_tool('study.py', command, study, '--work-dir', study.parent / 'out', *arguments)
    return code, out.getvalue(), err.getvalue()


def state(study: Path) -> dict:
    """Return the content of study.json."""
    return json.loads((study.parent / 'out' / 'study.json').read_text(encoding='utf-8'))


def evaluated(work_dir: Path) -> list[int]:
    """Return the iterations at which a run was evaluated, over all its starts."""
    return [row['step'] for row in _rows(work_dir) if 'mIoU' in row]


def trained(work_dir: Path) -> list[int]:
    """Return the iterations that a run trained, over all its starts."""
    return [row['step'] for row in _rows(work_dir) if 'loss' in row]


def _rows(work_dir: Path) -> list[dict]:
    rows = []
    for file in sorted(work_dir.glob('*/vis_data/scalars.json')):
        for line in file.read_text(encoding='utf-8').splitlines():
            # The last line of a killed run may be incomplete.
            with suppress(ValueError):
                rows.append(json.loads(line))
    return rows
