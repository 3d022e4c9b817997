"""Bad input of many kinds: one line that names the cause, exit code 2, and nothing written."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from campaign import checkpoints, command_lines, configs, data
from campaign.case import Case
from conftest import KD_LOSSES, run, tiny_config
from PIL import Image

from mmseg_kd.datasets.camvid.classes import CLASSES, PALETTE
from mmseg_kd.studies.config import load_study
from mmseg_kd.studies.plan import plan_study
from mmseg_kd.studies.sharing.run_queue import RunQueue
from mmseg_kd.studies.sharing.state import write_state
from mmseg_kd.studies.sharing.storage import open_storage

KINDS = dict(config=configs, command=command_lines, data=data, checkpoint=checkpoints)
CASES = [
    pytest.param(case, id=f'{kind}: {case.name}') for kind in KINDS for case in KINDS[kind].CASES
]
# The tool's own, or argparse's.
ERROR = re.compile(r'(\S+\.py.*: )?error: ')
# What a run that began may leave in its own work_dir: its log folder, and its config.
OF_A_START = re.compile(r'(run|done|taught)(/\d{8}_\d{6}(/.*)?|/[^/]+\.py)?')
PIPELINE = """[
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomCrop', crop_size=(64, 64)),
    dict(type='PackSegInputs'),
]"""
FILES = """
_base_ = './config.py'
_loader = dict(batch_size=2, num_workers=0, persistent_workers=False)
train_dataloader = dict(dataset=dict({train}, _delete_=True))
val_dataloader = dict(dataset=dict({val}, _delete_=True))
test_dataloader = dict(dataset=dict({test}, _delete_=True))
"""


@pytest.fixture(scope='module')
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of sound files.

    `config.py`, `cam.py`, `own.py`: a baseline on generated scenes, on `camvid/`, on `own/`;
    `student.py`: taught by `teacher.py` and `teacher.pth`; `done/`, `taught/`: work_dirs of the
    baseline and of the student; `study.py`: of one run, and its folder `studied/`.
    """
    folder = tmp_path_factory.mktemp('world')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        cfg = tiny_config(Path('run'), train_cfg__max_iters=2, train_cfg__val_interval=2)
        cfg.default_hooks.checkpoint.interval = 2
        cfg.default_hooks.prediction_grid = None
        cfg.visualizer.vis_backends = [dict(type='LocalVisBackend')]
        cfg.dump('config.py')
        shutil.copyfile('config.py', 'teacher.py')
        teacher = dict(config='teacher.py', checkpoint='teacher.pth')
        model = dict(type='KDEncoderDecoder', teacher=teacher, kd_losses=KD_LOSSES)
        text = f"_base_ = './config.py'\nmodel = {model!r}\n"
        text += 'default_hooks = dict(gradient_report=dict(interval=1))\n'
        Path('student.py').write_text(text, encoding='utf-8')
        write_data()
        assert run('train.py', 'config.py', '--work-dir', 'done') == 0
        shutil.copyfile('done/iter_2.pth', 'teacher.pth')
        assert run('train.py', 'student.py', '--work-dir', 'taught') == 0
        text = "study = dict(runs=dict(one=dict(config='config.py')))\n"
        Path('study.py').write_text(text, encoding='utf-8')
        study = load_study('study.py')
        storage = open_storage(None, Path('studied'))
        write_state(RunQueue(study, plan_study(study), storage), Path('studied'))
    return folder


def write_data() -> None:
    """Write `camvid`, `own` and their configs into the current folder."""
    rng = np.random.default_rng(0)
    for split in ('train', 'val', 'test', 'own'):
        images, masks = (
            (Path('own/images'), Path('own/masks'))
            if split == 'own'
            else (Path('camvid', split), Path('camvid', f'{split}annot'))
        )
        for folder in (images, masks):
            folder.mkdir(parents=True)
        for i in range(2):
            Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(images / f'{i}.png')
            Image.fromarray(rng.integers(0, 12, (64, 64), np.uint8)).save(masks / f'{i}.png')
        if split != 'own':
            lines = [f'{split}/{i}.png {split}annot/{i}.png\n' for i in range(2)]
            Path('camvid', f'{split}.txt').write_text(''.join(lines), encoding='utf-8')
    Path('own/empty.txt').write_text('', encoding='utf-8')
    Path('own/other.txt').write_text('nobody\n', encoding='utf-8')
    Path('empty.py').write_text('', encoding='utf-8')
    cam = "type='CamVidDataset', data_root='camvid', split={!r}, pipeline={}"
    splits = {split: cam.format(split, PIPELINE) for split in ('train', 'val', 'test')}
    Path('cam.py').write_text(FILES.format(**splits), encoding='utf-8')
    own = (
        "type='BaseSegDataset', data_root='own', data_prefix=dict(img_path='images', "
        "seg_map_path='masks'), img_suffix='.png', metainfo=dict("
        f'classes={CLASSES!r}, palette={PALETTE!r}), pipeline={PIPELINE}'
    )
    Path('own.py').write_text(FILES.format(train=own, val=own, test=own), encoding='utf-8')


@pytest.mark.parametrize('case', CASES)
def test_bad_input(
    case: Case,
    world: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture,
) -> None:
    folder = tmp_path / 'work'
    shutil.copytree(world, folder)
    monkeypatch.chdir(folder)
    torch.manual_seed(0)
    for step in case.steps:
        step()
    before = contents(folder)
    command = case.command.replace('URL', (folder / 'page.zip').as_uri())
    capfd.readouterr()
    code = run(*shlex.split(command))
    out, err = capfd.readouterr()
    lines = err.splitlines()
    errors = [line for line in lines if ERROR.match(line)]
    assert code == 2, out + err
    assert len(errors) == 1 and errors == lines[-1:], err
    # Whole words, and not those of this test's own folder.
    said = errors[0].replace(str(folder), '')
    assert re.search(rf'(?<!\w){re.escape(case.says)}(?!\w)', said), said
    assert 'Traceback' not in out + err
    after = contents(folder)
    assert {path: after.get(path) for path in before} == before
    assert [path for path in after if path not in before and not OF_A_START.fullmatch(path)] == []


def contents(folder: Path) -> dict[str, tuple[int, int] | None]:
    """Size and time of every file below a folder, but for locks; None for folders."""
    found = {}
    for path in folder.rglob('*'):
        if path.name.startswith('.lock'):
            continue
        stat = path.lstat()
        size = None if path.is_dir() else (stat.st_size, stat.st_mtime_ns)
        found[path.relative_to(folder).as_posix()] = size
    return found
