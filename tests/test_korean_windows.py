"""The way from a study to a report on an emulated Korean Windows."""

import importlib.util
import io
import json
import multiprocessing
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from conftest import run, tiny_config
from PIL import Image

EMULATION = Path(__file__).parent / 'korean_windows' / 'sitecustomize.py'
# A letter and a sign that cp949 lacks.
NAME = 'café 실험 − 1'  # noqa: RUF001


@pytest.fixture
def korean_windows(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Emulate a Korean Windows here and in the processes that start."""
    spec = importlib.util.spec_from_file_location('korean_windows', EMULATION)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.install(monkeypatch.setattr)
    monkeypatch.setenv('PYTHONUTF8', '0')
    monkeypatch.setenv('PYTHONIOENCODING', 'cp949:strict')
    path = [str(EMULATION.parent), str(EMULATION.parents[2]), os.environ.get('PYTHONPATH', '')]
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join(path))
    start_method = multiprocessing.get_start_method()
    yield module
    multiprocessing.set_start_method(start_method, force=True)


def redirect(monkeypatch: pytest.MonkeyPatch) -> io.BytesIO:
    """Redirect the console to a file; no fixture, as pytest sets it anew."""
    printed = io.BytesIO()
    stream = io.TextIOWrapper(printed, encoding='cp949', errors='strict', write_through=True)
    monkeypatch.setattr(sys, 'stdout', stream)
    monkeypatch.setattr(sys, 'stderr', stream)
    return printed


def write_images(root: Path) -> None:
    """Two images with labels, and a list of them as `>` of PowerShell 5 writes it."""
    for folder in ('사진 1', '라벨 1'):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    lines = []
    for name in ('첫째.png', '둘째.png'):
        image = rng.integers(0, 256, (96, 96, 3), np.uint8)
        Image.fromarray(image).save(root / '사진 1' / name)
        Image.fromarray(image[..., 0] % 12).save(root / '라벨 1' / name)
        lines.append(f'사진 1\\{name} 라벨 1\\{name}\r\n')
    (root / '목록.txt').write_bytes(''.join(lines).encode('utf-16'))


def write_config(file: Path) -> None:
    """A training of 2 iterations with spawned workers, as Notepad writes it with a mark."""
    cfg = tiny_config(file.parent / NAME)
    root = file.parent / '내 자료'
    write_images(root)
    data = cfg.train_dataloader.dataset
    loading = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
    cfg.merge_from_dict(
        {
            'train_dataloader.dataset': dict(
                _delete_=True,
                type='CamVidDataset',
                data_root=str(root),
                ann_file=str(root / '목록.txt'),
                cache_mib=64,
                pipeline=[*loading, *data.pipeline[1:]],
            ),
            'env_cfg.mp_cfg.mp_start_method': 'spawn',
            'train_dataloader.num_workers': 1,
            'train_cfg.max_iters': 2,
            'train_cfg.val_interval': 2,
            'default_hooks.checkpoint.interval': 1,
        }
    )
    file.write_text(f'# 학습 설정\n{cfg.pretty_text}', encoding='utf-8-sig')


@pytest.mark.slow
def test_from_a_study_to_a_report(
    tmp_path: Path, korean_windows: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = redirect(monkeypatch)
    folder = tmp_path / '연구 (1)'
    folder.mkdir()
    config, study = folder / '설정.py', folder / '한글_연구.py'
    write_config(config)
    text = f'study = dict(runs=dict(학생=dict(config={str(config)!r})))\n'
    study.write_text(text, encoding='utf-8-sig')

    out = folder / '결과'
    assert run('study.py', 'run', study, '--work-dir', out, '--lang', 'ko') == 0
    state = json.loads((out / 'study.json').read_text(encoding='utf-8'))
    assert [(r['name'], r['state']) for r in state['runs']] == [('학생', 'done')]
    assert '한글_연구' in (out / 'report.html').read_text(encoding='utf-8')

    work_dir = folder / NAME
    assert run('train.py', config) == 0
    longer = ('--resume', '--cfg-options', 'train_cfg.max_iters=3')
    assert run('train.py', config, *longer) == 0
    saved, painted = folder / '예측', folder / '그림'
    assert (
        run('test.py', config, work_dir / 'iter_3.pth', '--out', saved, '--show-dir', painted) == 0
    )
    assert len(list(saved.glob('*.png'))) == 2
    assert len(list(painted.rglob('*.png'))) == 2
    tool = 'analysis_tools/report.py'
    assert run(tool, work_dir, '--lang', 'ko', '--out', folder / '보고서') == 0
    assert NAME in (folder / '보고서' / 'report.md').read_text(encoding='utf-8')

    # What the console lacks is an escape; a log is UTF-8 and whole.
    lines = console.getvalue().decode('cp949')
    assert 'caf\\xe9 실험 \\u2212 1' in lines
    logs = [log.read_text(encoding='utf-8') for log in work_dir.glob('*/*.log')]
    assert any(NAME in log for log in logs)
    # Every file that is put in place was locked once.
    names = {Path(target).name for target in korean_windows.replaced}
    assert {'study.json', 'iter_2.pth', 'iter_3.pth', 'report.html'} <= names
