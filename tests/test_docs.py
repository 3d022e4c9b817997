"""What the documentation shows is run, or at least read by what would run it."""

from __future__ import annotations

import argparse
import ast
import re
import runpy
import shlex
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.structures import PixelData
from mmseg.registry import DATASETS, MODELS
from mmseg.structures import SegDataSample
from PIL import Image

from mmseg_kd.config import load_config
from mmseg_kd.datasets.camvid.dataset import CamVidDataset
from mmseg_kd.distillation import losses
from mmseg_kd.distillation.schedules import scheduled
from mmseg_kd.distillation.teacher import build_segmentor
from mmseg_kd.studies.config import load_study

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob('*.md'), *ROOT.glob('docs/*.md'), *ROOT.glob('*/README.md'))
)
# Pages whose blocks of Python are run by tests of their own.
BY_HAND = ('docs/adding_a_loss.md', 'docs/predict_and_export.md')
# Programs that are no tool of the project.
OTHERS = (
    'pip',
    'optuna-dashboard',
    'pytest',
    'ruff',
    'pre-commit',
    'conda',
    'git',
    'cd',
    'curl',
    '--storage',
)


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text(encoding='utf-8')
    return re.findall(rf'^```{language}\n(.*?)^```', text, flags=re.DOTALL | re.MULTILINE)


def python_blocks() -> list[tuple[str, str]]:
    found = [(page, b) for page in PAGES if page not in BY_HAND for b in blocks(page, 'python')]
    # A block of study keys goes on with the study before it.
    studies = {page: b for page, b in found if b.startswith('study = dict(')}
    return [(page, f'{studies[page]}{b}' if b.startswith('search') else b) for page, b in found]


def from_its_folder(block: str) -> str:
    """Make `_base_` absolute: the first line of a config says where the file would be."""
    where = (ROOT / re.match(r'# (local_configs/\S+\.py)\n', block)[1]).parent
    return re.sub(r"(?<=_base_ = )'(.+)'", lambda match: repr((where / match[1]).as_posix()), block)


@pytest.mark.parametrize(('page', 'block'), python_blocks())
def test_python_blocks(page: str, block: str, tmp_path: Path) -> None:
    names: dict[str, Any] = {}
    if 'study = dict(' in block:
        exec(block, names)
        if 'search' in names:
            names['study'].pop('grid')
            names['study']['search'] = names['search']
        (tmp_path / 'study.py').write_text(f'study = {names["study"]!r}', encoding='utf-8')
        assert load_study(str(tmp_path / 'study.py')).name == 'mine'
    elif '_base_' in block:
        (tmp_path / 'mine.py').write_text(from_its_folder(block), encoding='utf-8')
        cfg = load_config(str(tmp_path / 'mine.py'))
        for loss in (cfg.model.get('kd_losses') or {}).values():
            if loss is not None:
                MODELS.build(loss)
    else:
        # Lines of settings that may have a schedule.
        for node in ast.parse(block).body:
            assert node.targets[0].id in ('loss_weight', 'temperature')
            scheduled(eval(ast.unparse(node.value)))


def commands() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for block in blocks(page, 'bash'):
            lines = block.replace('\\\n', ' ').splitlines()
            parts = [part.strip() for line in lines for part in line.split('&&')]
            found += [(page, part) for part in parts if part and not part.startswith('#')]
    return list(dict.fromkeys(found))


class Parsed(BaseException):
    """The arguments of a tool, which then does not run."""


@pytest.mark.parametrize(('page', 'command'), commands())
def test_commands(page: str, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program, *words = shlex.split(command, comments=True)
    if re.fullmatch(r'[A-Z_]+=\S*', program):
        program, *words = words
    if program in OTHERS or words[:1] == ['-m']:
        return
    assert program in ('python', 'bash'), f'{program} is unknown; add it to OTHERS or test it'
    tool, *arguments = words
    assert (ROOT / tool).is_file()
    for word in words:
        assert not word.startswith('local_configs/') or (ROOT / word).is_file()
    if program == 'bash':
        return

    for name in ('parse_args', 'parse_intermixed_args'):
        parse = getattr(argparse.ArgumentParser, name)

        def stop(*args: Any, parse: Callable = parse) -> None:
            raise Parsed(parse(*args))

        monkeypatch.setattr(argparse.ArgumentParser, name, stop)
    monkeypatch.setattr(sys, 'argv', [tool, *arguments])
    with pytest.raises(Parsed) as parsed:
        runpy.run_path(str(ROOT / tool), run_name='__main__')
    given = vars(parsed.value.args[0])
    if 'study' in given:
        load_study(given['study'])
    elif str(given.get('config', '')).startswith('local_configs/'):
        load_config(given['config'], given.get('cfg_options'))


RECIPES = {
    Path(re.match(r'# (\S+)', block)[1]).stem: block
    for block in blocks('docs/configs.md', 'python')
}


def recipe(name: str, tmp_path: Path, options: dict | None = None) -> Config:
    """Load a config of the page on configs."""
    (tmp_path / 'mine.py').write_text(from_its_folder(RECIPES[name]), encoding='utf-8')
    return load_config(str(tmp_path / 'mine.py'), options)


def random_batch(cfg: Config) -> tuple[torch.Tensor, list[SegDataSample]]:
    labels = torch.randint(cfg.model.decode_head.num_classes, (1, 64, 64))
    sample = SegDataSample(gt_sem_seg=PixelData(data=labels), metainfo=dict(img_shape=(64, 64)))
    return torch.randn(2, 3, 64, 64), [sample, sample]


@pytest.mark.parametrize('name', [name for name in RECIPES if not name.endswith('.kd')])
def test_the_models_of_the_recipes_compute_their_losses(name: str, tmp_path: Path) -> None:
    cfg = recipe(name, tmp_path)
    model = build_segmentor(cfg.model)
    loss = model.loss(*random_batch(cfg))['decode.loss_ce']
    (gradient,) = torch.autograd.grad(loss, [next(model.backbone.parameters())])
    assert loss > 0
    assert gradient.any()


def test_what_the_recipes_say_follows_from_them(tmp_path: Path) -> None:
    assert recipe('mine_60k', tmp_path).train_cfg.max_iters == 60000
    cropped = recipe('mine_crop', tmp_path)
    step = cropped.train_dataloader.dataset.pipeline[2]
    assert tuple(step.crop_size) == tuple(cropped.model.data_preprocessor.size) == (360, 480)
    weighted = recipe('mine_class_weights', tmp_path).model.decode_head.loss_decode.class_weight
    names = [n for n, w in zip(CamVidDataset.METAINFO['classes'], weighted, strict=True) if w == 2]
    assert names == ['Pole', 'SignSymbol', 'Fence', 'Pedestrian', 'Bicyclist']


def test_the_recipe_for_freezing_trains_the_head_alone(tmp_path: Path) -> None:
    cfg = recipe('mine_frozen', tmp_path)
    model = build_segmentor(cfg.model)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    wrapper.update_params(model.loss(*random_batch(cfg))['decode.loss_ce'])
    changed = {n.split('.')[0] for n, p in model.named_parameters() if not p.equal(before[n])}
    assert changed == {'decode_head'}


def test_the_recipe_for_another_data_set_reads_it(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (360, 480, 3), np.uint8)
    for folder in ('images', 'masks'):
        (tmp_path / folder).mkdir()
    for name in ('train', 'val', 'test'):
        Image.fromarray(image).save(tmp_path / 'images' / f'{name}.jpg')
        Image.fromarray(image[..., 0] % 3).save(tmp_path / 'masks' / f'{name}.png')
        (tmp_path / f'{name}.txt').write_text(f'{name}\n')
        cfg = recipe('mine_data', tmp_path, {f'{name}_dataloader.dataset.data_root': str(tmp_path)})
        sample = DATASETS.build(cfg[f'{name}_dataloader'].dataset)[0]['data_samples']
        assert set(sample.gt_sem_seg.data.unique().tolist()) >= {0, 1, 2}


def test_imports_point_the_way_that_the_page_on_the_architecture_says() -> None:
    (diagram,) = (b for b in blocks('docs/architecture.md', 'text') if b.startswith('tools ->'))
    allowed: dict[str, set[str]] = {}
    for line in diagram.splitlines():
        groups = [re.split(r',\s*', group.strip()) for group in line.split('->')]
        for sources, targets in pairwise(groups):
            for source in sources:
                allowed.setdefault(source, set()).update(targets)

    def reach(part: str) -> set[str]:
        return allowed.get(part, set()).union(*map(reach, allowed.get(part, ())))

    for part in allowed:
        assert part not in reach(part)
    for file in (*ROOT.glob('mmseg_kd/**/*.py'), *ROOT.glob('tools/**/*.py')):
        parts = file.relative_to(ROOT).with_suffix('').parts
        own = parts[0] if parts[0] == 'tools' else parts[1]
        for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
            module = (getattr(node, 'module', None) or '').split('.')
            if isinstance(node, ast.ImportFrom) and module[0] == 'mmseg_kd' and len(module) > 1:
                imported = module[1]
                private = imported.startswith('_') or own.startswith('_')
                assert private or imported == own or imported in reach(own), f'{file}: {imported}'


@pytest.mark.parametrize('page', PAGES)
def test_links_lead_somewhere(page: str) -> None:
    file = ROOT / page
    for target in re.findall(r'\]\((?!https?:)([^)\s]*)\)', file.read_text(encoding='utf-8')):
        path, _, anchor = target.partition('#')
        linked = (file.parent / path).resolve() if path else file
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    text = page.read_text(encoding='utf-8')
    headings = re.findall(r'^#+ (.*)', text, flags=re.MULTILINE)
    plain = (re.sub(r'\[([^]]*)\]\([^)]*\)', r'\1', heading) for heading in headings)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in plain}


def test_every_loss_is_in_the_reference() -> None:
    page = (ROOT / 'docs/losses.md').read_text(encoding='utf-8')
    rows = re.findall(r'^\| `(\w+(?:Loss|Divergence))` \|', page, flags=re.MULTILINE)
    assert sorted(rows) == sorted(losses.__all__)


def test_the_loss_of_the_page_on_adding_one() -> None:
    loss, line, test, config = blocks(BY_HAND[0], 'python')
    assert line == 'from mmseg_kd.distillation.losses.logits.cosine import CosineLoss\n'
    try:
        exec(compile(loss, 'cosine.py', 'exec'), {'__name__': 'cosine'})
        names: dict = {}
        exec(compile(test, 'test_cosine.py', 'exec'), names)
        names['test_orthogonal_logits_are_one_apart']()
        entry = Config.fromstring(config.replace('./', f'{ROOT}/local_configs/toy/'), '.py')
        assert MODELS.build(entry.model.kd_losses.cos_loss).weight == 1.0
    finally:
        MODELS.module_dict.pop('CosineLoss', None)
