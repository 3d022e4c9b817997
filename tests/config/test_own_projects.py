"""Configs of a user's own project of mmsegmentation."""

from pathlib import Path

import pytest
from conftest import ROOT, tiny_config
from mmengine.hooks import EMAHook, Hook
from mmengine.registry import HOOKS as ROOT_HOOKS
from mmengine.registry import DefaultScope, Registry
from mmseg.models import FCNHead
from mmseg.registry import HOOKS, MODELS, OPTIM_WRAPPER_CONSTRUCTORS
from torch import Tensor

from mmseg_kd.config import load_config
from mmseg_kd.engine import build_runner
from mmseg_kd.errors import UserError
from mmseg_kd.registry import registered_types

B0 = (ROOT / 'local_configs/segformer/B0/segformer.b0.512x512.camvid.py').as_posix()
# Registered when it is made.
PROJECT = Registry('hook', parent=ROOT_HOOKS, scope='own_project')


@HOOKS.register_module()
class HookOfMine(Hook):
    """A hook with an argument."""

    def __init__(self, word: str) -> None:
        self.word = word


@PROJECT.register_module()
class LoggerHookk(Hook):
    """Close to the name of another hook, and only in a registry of the project."""


@MODELS.register_module()
class BoundaryHeadOfMine(FCNHead):
    """A head with a loss, and so with classes, of its own."""

    def loss_by_feat(self, seg_logits: Tensor, batch_data_samples: list) -> dict[str, Tensor]:
        """Return no loss."""
        return {}


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class ConstructorOfMine:
    """A constructor, which reads keys of its own."""


@Registry('hook', parent=ROOT_HOOKS, scope='other_project').register_module(name='EMAHook')
class OtherEMAHook(Hook):
    """Has the name of a hook of mmengine."""


SGD = "optimizer = dict(type='SGD', lr=0.01, momentum=0.9)\n"
WRAPPED = "optim_wrapper = dict({}type='OptimWrapper', optimizer=optimizer)"
ADAM = "optimizer = dict(type='AdamW', lr=1e-4)\n"


def write(folder: Path, text: str, base: str = B0) -> str:
    file = folder / 'mine.py'
    file.write_text(f'_base_ = {base!r}\n{text}\n', encoding='utf-8')
    return str(file)


def test_the_variable_of_an_optimizer_is_merged_with_that_of_a_base(tmp_path: Path) -> None:
    base = tmp_path / 'base.py'
    base.write_text(f'_base_ = {B0!r}\n{SGD}{WRAPPED.format("_delete_=True, ")}\n')
    mine = write(tmp_path, ADAM + WRAPPED.format('_delete_=True, '), base.as_posix())
    assert load_config(mine).optim_wrapper.optimizer.type == 'AdamW'
    dumped = tmp_path / 'dumped.py'
    cfg = load_config(mine)
    assert cfg.optimizer.momentum == 0.9
    cfg.dump(dumped)
    assert load_config(str(dumped)).optim_wrapper.optimizer.type == 'AdamW'
    # Without the second line it has no effect.
    for text in (ADAM, ADAM + 'optim_wrapper = dict(clip_grad=None)', 'optimizer = None'):
        with pytest.raises(UserError, match=r"'optimizer' is a key of mmsegmentation 0\.x"):
            load_config(write(tmp_path, text, base.as_posix()))


@pytest.mark.parametrize(
    'text',
    [
        "custom_hooks = [dict(type='HookOfMine', word='a', priority='LOW')]",
        "default_hooks = dict(timer=dict(type='IterTimerHook', priority=40))",
        "custom_hooks = [dict(type='LoggerHookk')]",
        "model = dict(auxiliary_head=dict(type='BoundaryHeadOfMine', num_classes=2))",
        "optim_wrapper = dict(constructor='ConstructorOfMine', paramwise_cfg=dict(head=0.1))",
        "train_dataloader = dict(dataset=dict(pipeline=[dict(type='mmseg.LoadImageFromFile')]))",
    ],
)
def test_what_stock_mmsegmentation_takes(tmp_path: Path, text: str) -> None:
    load_config(write(tmp_path, text))


@pytest.mark.parametrize('head', ['FCNHead', 'DAHead', 'EncHead'])
def test_heads_that_predict_the_same_have_the_same_classes(tmp_path: Path, head: str) -> None:
    text = f"model = dict(auxiliary_head=dict(type='{head}', num_classes=2))"
    with pytest.raises(UserError, match=r'the heads have \[12, 2\] classes'):
        load_config(write(tmp_path, text))


@pytest.mark.parametrize(
    'text',
    [
        'model = dict(decode_head=dict(priority=3))',
        'optim_wrapper = dict(optimizer=dict(priority=3))',
    ],
)
def test_only_hooks_have_a_priority(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match=r'priority: .* has no such key'):
        load_config(write(tmp_path, text))


def test_a_registry_of_another_project_hides_nothing() -> None:
    types = registered_types()
    assert types['EMAHook'] is EMAHook and types['other_project.EMAHook'] is OtherEMAHook


def test_the_hooks_of_a_training_are_found_from_another_scope(tmp_path: Path) -> None:
    runner = build_runner(tiny_config(tmp_path))
    runner.hooks.clear()
    with DefaultScope.overwrite_default_scope('own_project'):
        runner.register_default_hooks()
    assert 'NonFiniteLossHook' in {type(hook).__name__ for hook in runner.hooks}
