"""The commands of the documentation run, on the tiny model and for a few iterations.

CONTRIBUTING.md lists the commands that do not, with the reason. `test_docs.py` only reads commands.
"""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
import sys
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import ROOT, tiny_config, tiny_model
from mmengine.config import Config
from PIL import Image
from test_docs import OTHERS, commands

from mmseg_kd.config import load_config

CONTRIBUTING = (ROOT / 'CONTRIBUTING.md').read_text(encoding='utf-8')
# Beginnings of commands that do not run here.
LISTED = re.findall(r'^\| `([^`]+)` \| [^|]+ \|$', CONTRIBUTING, flags=re.MULTILINE)
# They would make a training longer again.
LENGTHS = ('train_cfg.', 'default_hooks.', 'param_scheduler.', 'train_dataloader.num_workers')
# Words of the commands that take longest, and the page on which they run for all pages.
ONE_PAGE = {
    'tools/study.py': 'README.md',
    'tools/export.py': 'README.md',
    'data/mine': 'docs/your_own_data.md',
    'work_dirs/mine_': 'docs/your_own_data.md',
}
OUTPUTS = ('--out', '--output-dir', '--save-path')
PAGES: dict[str, list[str]] = {}
for page, text in commands():
    PAGES.setdefault(page, []).append(shlex.join(shlex.split(text, comments=True)))


def is_listed(command: str) -> bool:
    return command.startswith((*LISTED, *OTHERS))


def test_every_listed_command_is_in_the_documentation() -> None:
    every = [command for lines in PAGES.values() for command in lines]
    assert [start for start in LISTED if not any(c.startswith(start) for c in every)] == []


def test_a_korean_page_has_the_commands_of_the_english_one() -> None:
    for page, lines in PAGES.items():
        if page.endswith('.ko.md'):
            english = PAGES[page.replace('.ko.md', '.md')]
            # Reports in Korean.
            assert {re.sub(' --lang ko', '', line) for line in lines} <= {
                re.sub(' --lang ko', '', line) for line in english
            }


@pytest.fixture
def workplace(tmp_path: Path, trained_pair: dict, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the place of the repository's root, with photos, masks, a video and runs."""
    shutil.copytree(ROOT / 'local_configs', tmp_path / 'local_configs')
    rng = np.random.default_rng(0)
    for folder in ('photos', 'new_photos', 'more', 'my_photos/images', 'my_photos/masks'):
        (tmp_path / folder).mkdir(parents=True)
    for i in range(8):
        image = Image.fromarray(rng.integers(0, 256, (64, 80, 3), np.uint8))
        for folder in ('photos', 'new_photos', 'my_photos/images'):
            image.save(tmp_path / folder / f'{i}.png')
        image.save(tmp_path / 'more' / f'more{i}.png')
        Image.fromarray(rng.integers(0, 3, (64, 80), np.uint8)).save(
            tmp_path / 'my_photos' / 'masks' / f'{i}.png'
        )
    image.save(tmp_path / 'photo.jpg')
    monkeypatch.chdir(tmp_path)
    video = cv2.VideoWriter('clip.mp4', cv2.VideoWriter_fourcc(*'mp4v'), 10, (80, 64))
    video.write(np.asarray(image))
    video.release()
    for name in ('base_s0', 'base_s1', 'base_s2', 'segformer_b0_camvid_baseline'):
        shutil.copytree(trained_pair['baseline'], tmp_path / 'work_dirs' / name)
    for name in ('student', 'segformer_b0_camvid_student_kd'):
        shutil.copytree(trained_pair['student'], tmp_path / 'work_dirs' / name)
    return tmp_path


def latest(folder: Path) -> Path | None:
    """Return the last checkpoint in a work_dir, if there is one."""
    found = sorted(folder.glob('iter_*.pth'), key=lambda path: int(path.stem.split('_')[1]))
    return found[-1] if found else None


def test_the_readme_has_the_trainings_of_own_data() -> None:
    # They run on the page of own data.
    trainings = [
        [command for command in PAGES[page] if command.startswith('python tools/train.py data/')]
        for page in ('README.md', 'docs/your_own_data.md')
    ]
    assert len(trainings[0]) == 3 and trainings[0] == trainings[1]


def shorten(file: str, baseline: Path) -> Config:
    """Write a config anew in its place, with the tiny model, toy scenes and 6 iterations."""
    cfg = load_config(file)
    tiny = tiny_config(Path(cfg.work_dir))
    own_data = cfg.train_dataloader.dataset.type == 'BaseSegDataset'
    model = tiny_model()
    if own_data:
        model['decode_head']['num_classes'] = cfg.model.decode_head.num_classes
    if cfg.model.get('kd_losses'):
        teacher = dict(
            config=str(next(baseline.glob('*/vis_data/config.py'))),
            checkpoint=str(latest(baseline)),
        )
        if own_data:
            checkpoint = latest(Path(cfg.model.teacher.checkpoint).parent)
            teacher = {**cfg.model.teacher, 'checkpoint': str(checkpoint)}
        model |= dict(type='KDEncoderDecoder', teacher=teacher, kd_losses=cfg.model.kd_losses)
    cfg.model = model
    data = () if own_data else ('train_dataloader', 'val_dataloader', 'test_dataloader')
    for key in (*data, 'train_cfg', 'param_scheduler'):
        cfg[key] = tiny[key]
    cfg.merge_from_dict(
        {
            'train_dataloader.num_workers': 0,
            'train_dataloader.persistent_workers': False,
            'default_hooks.checkpoint.interval': 3,
            'default_hooks.logger.interval': 1,
        }
    )
    cfg.dump(file)
    return cfg


def prepared(command: str, baseline: Path, done: set[str]) -> list[str]:
    """Return the words of a command, after what they name was made."""
    names = {'CONFIG': 'local_configs/toy/segformer.b0.toy.py', 'CHECKPOINT': str(latest(baseline))}
    words = [names.get(word, word) for word in shlex.split(command)]
    words = ['log_level=INFO' if word.startswith(LENGTHS) else word for word in words]
    for before, word in pairwise(words):
        path = Path(word)
        if before in OUTPUTS and path.is_dir():
            shutil.rmtree(path)
        elif word.startswith('local_configs/studies/'):
            config = 'local_configs/toy/segformer.b0.toy.py'
            if not done & {config}:
                shorten(config, baseline)
                done.add(config)
            runs = f'runs=dict(baseline=dict(config={config!r}))'
            # One name: what is trained once is done.
            path.write_text(f"study = dict(name='study', {runs})", encoding='utf-8')
        elif re.match(r'(local_configs|data)/.*\.py$', word) and word not in done:
            shorten(word, baseline)
            done.add(word)
        elif checkpoint := re.search(r'work_dirs/[^=]+\.pth$', word):
            path = Path(checkpoint[0])
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.is_file():
                shutil.copy(latest(path.parent) or latest(baseline), path)
    if words[1] == 'tools/train.py':
        work_dir = Path(Config.fromfile(words[2]).work_dir)
        if '--resume' not in words:
            shutil.rmtree(work_dir, ignore_errors=True)
        elif checkpoint := latest(work_dir):
            checkpoint.unlink()
    return words


@pytest.mark.slow
@pytest.mark.parametrize('page', [page for page in PAGES if not page.endswith('.ko.md')])
def test_the_commands_of_a_page_run(
    page: str, workplace: Path, trained_pair: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: set[str] = set()
    for command in PAGES[page]:
        pages = {only for word, only in ONE_PAGE.items() if word in command}
        if is_listed(command) or pages - {page}:
            continue
        _, tool, *arguments = prepared(command, trained_pair['baseline'], done)
        monkeypatch.setattr(sys, 'argv', [tool, *arguments])
        code = 0
        try:
            runpy.run_path(str(ROOT / tool), run_name='__main__')
        except SystemExit as stop:
            code = stop.code
        assert not code, f'{command}: exit code {code}'
