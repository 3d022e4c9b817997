"""The learning rate of a migrated config is that of mmsegmentation 0.x."""

import math
from pathlib import Path

import pytest
from configs_of_0x import NVLABS, NVLABS_DATA, SCHEDULE, migrated
from mmengine.optim import build_optim_wrapper
from mmseg.registry import MODELS, PARAM_SCHEDULERS

from mmseg_kd.config import load_config


def rate_of_0x(schedule: dict, base: float, iteration: int, length: int) -> float:
    """The learning rate of mmcv 1.x's `LrUpdaterHook`, with `by_epoch=False`."""
    low, progress = schedule.get('min_lr', 0.0), iteration / length
    if schedule['policy'] == 'poly':
        rate = (base - low) * (1 - progress) ** schedule.get('power', 1.0) + low
    elif schedule['policy'] == 'CosineAnnealing':
        rate = low + 0.5 * (base - low) * (math.cos(math.pi * progress) + 1)
    elif schedule['policy'] == 'step':
        steps = schedule['step']
        count = iteration // steps if isinstance(steps, int) else len(steps)
        for i, step in enumerate([] if isinstance(steps, int) else steps):
            if iteration < step:
                count = i
                break
        rate = max(base * schedule.get('gamma', 0.1) ** count, low)
    else:
        rate = base
    warmup, end = schedule.get('warmup'), schedule.get('warmup_iters', 0)
    if warmup is None or iteration >= end:
        return rate
    ratio = schedule.get('warmup_ratio', 0.1)
    if warmup == 'constant':
        return rate * ratio
    if warmup == 'linear':
        return rate * (1 - (1 - iteration / end) * (1 - ratio))
    return rate * ratio ** (1 - iteration / end)


@pytest.mark.parametrize(
    'schedule',
    [
        dict(policy='poly', power=1.0, min_lr=0.0, warmup='linear', warmup_iters=60,
             warmup_ratio=1e-6),
        dict(policy='poly', power=0.9, min_lr=1e-4),
        dict(policy='poly', power=0.9, min_lr=1e-5, warmup='linear', warmup_iters=60,
             warmup_ratio=0.0),
        dict(policy='poly', warmup='exp', warmup_iters=30, warmup_ratio=0.01),
        dict(policy='CosineAnnealing', min_lr=1e-6, warmup='constant', warmup_iters=20),
        dict(policy='step', step=[100, 300]),
        dict(policy='step', step=150, gamma=0.5, min_lr=2e-5),
        dict(policy='fixed', warmup='linear', warmup_iters=10),
    ],
)  # fmt: skip
def test_the_learning_rate_is_that_of_0x(tmp_path: Path, schedule: dict) -> None:
    text = NVLABS.replace(SCHEDULE, f'dict(**{schedule!r}, by_epoch=False)')
    cfg = load_config(str(migrated(tmp_path, data=NVLABS_DATA, old=text)))
    cfg.model.pretrained = None
    cfg.model.decode_head.norm_cfg.type = 'BN'
    model = MODELS.build(cfg.model)
    rates = {'decode_head.linear_pred.weight': 6e-4, 'backbone.norm1.weight': 6e-5}
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    owner = {id(p): group for group in optimizer.param_groups for p in group['params']}
    (scheduler,) = cfg.param_scheduler
    assert (scheduler.policy, scheduler.by_epoch) == (schedule['policy'], False)
    scheduler = PARAM_SCHEDULERS.build(
        dict(scheduler, end=400), default_args=dict(optimizer=optimizer)
    )
    optimizer.optimizer.step()
    groups = {name: owner[id(model.get_parameter(name))] for name in rates}
    for iteration in range(400):
        for name, base in rates.items():
            expected = rate_of_0x(schedule, base, iteration, 400)
            assert groups[name]['lr'] == pytest.approx(expected, rel=1e-12, abs=1e-18)
        scheduler.step()
    for name, parameter in model.named_parameters():
        group = owner[id(parameter)]
        assert group['initial_lr'] == pytest.approx(6e-5 * (10 if 'head' in name else 1))
        free = 'head' not in name and ('norm' in name or 'pos_block' in name)
        assert group['weight_decay'] == (0.0 if free else 0.01)
