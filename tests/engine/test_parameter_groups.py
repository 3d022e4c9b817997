"""Parameters of equal settings share a group, and nothing else changes."""

from pathlib import Path

import pytest
import torch
from conftest import ROOT, tiny_config, tiny_model
from mmengine.optim import build_optim_wrapper
from mmseg.registry import MODELS
from test_resume import train

from mmseg_kd.config import choose_start, load_config
from mmseg_kd.engine import build_runner
from mmseg_kd.engine.starting import _model_line
from mmseg_kd.errors import UserError

STOCK = 'DefaultOptimWrapperConstructor'


def settings(optimizer: torch.optim.Optimizer) -> dict:
    return {
        id(p): {key: value for key, value in group.items() if key != 'params'}
        for group in optimizer.param_groups
        for p in group['params']
    }


@pytest.mark.parametrize('schedule', ['adamw_40k', 'adamw_toy'])
def test_every_parameter_keeps_its_settings(schedule: str) -> None:
    cfg = load_config(str(ROOT / 'local_configs/segformer/B0/segformer.b0.512x512.camvid.py'))
    schedule = ROOT / f'local_configs/_base_/schedules/{schedule}.py'
    wrapper = cfg.fromfile(schedule).optim_wrapper
    model = MODELS.build(tiny_model())
    grouped = build_optim_wrapper(model, wrapper)
    stock = build_optim_wrapper(model, wrapper | dict(constructor=STOCK))
    expected = settings(stock.optimizer)
    assert settings(grouped.optimizer) == expected
    assert len(stock.optimizer.param_groups) == len(list(model.parameters()))
    different = {repr(sorted(s.items())) for s in expected.values()}
    assert 1 < len(grouped.optimizer.param_groups) == len(different)
    # What is logged as lr and base_lr.
    assert grouped.get_lr()['base_lr'] == stock.get_lr()['base_lr']
    assert grouped.get_lr()['lr'][0] == stock.get_lr()['lr'][0]


def test_the_name_of_a_loss_sets_nothing(teacher: dict) -> None:
    cfg = load_config(str(ROOT / 'local_configs/segformer/B0/segformer.b0.512x512.camvid.py'))
    adapted = dict(type='FitNetLoss', student_channels=32, teacher_channels=32)
    losses = dict.fromkeys(('head_fit', 'norm_fit', 'fit'), adapted)
    model = MODELS.build(tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=losses))
    found = settings(build_optim_wrapper(model, cfg.optim_wrapper).optimizer)
    base = cfg.optim_wrapper.optimizer
    adapters = [found[id(parameter)] for parameter in model.kd_losses.parameters()]
    assert len(adapters) >= 3
    for group in adapters:
        assert (group['lr'], group['weight_decay']) == (base.lr, base.weight_decay)
    assert found[id(model.decode_head.linear_pred.weight)]['lr'] == 10 * base.lr
    plain = MODELS.build(tiny_model())
    assert _model_line(model).split(', ')[1:] == _model_line(plain).split(', ')[1:]


def test_training_is_the_same(tmp_path: Path) -> None:
    grouped = train(tiny_config(tmp_path / 'grouped'))
    stock = train(tiny_config(tmp_path / 'stock', optim_wrapper__constructor=STOCK))
    for name, weight in stock['weights'].items():
        assert torch.equal(grouped['weights'][name], weight), name


def test_a_run_with_a_group_a_parameter_goes_on_with_them(tmp_path: Path) -> None:
    stock = dict(optim_wrapper__constructor=STOCK)
    train(tiny_config(tmp_path, train_cfg__max_iters=3, **stock))
    with pytest.raises(UserError, match=f'optim_wrapper.constructor={STOCK}'):
        train(tiny_config(tmp_path), resume='auto')
    assert train(tiny_config(tmp_path, **stock), resume='auto')['evaluations']


@pytest.mark.parametrize('fused', [True, None])
def test_a_resumed_run_takes_the_configs_kind_of_optimizer(
    tmp_path: Path, fused: bool | None
) -> None:
    key = dict(optim_wrapper__optimizer__fused=fused)
    train(
        tiny_config(tmp_path, train_cfg__max_iters=3, optim_wrapper__optimizer__fused=fused is None)
    )
    cfg = tiny_config(tmp_path, **key)
    choose_start(cfg, 'auto')
    runner = build_runner(cfg)
    runner.train()
    assert {group['fused'] for group in runner.optim_wrapper.optimizer.param_groups} == {fused}
