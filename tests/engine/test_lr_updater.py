"""The learning rates of mmcv 1.x."""

import math

import pytest
import torch
from mmseg.registry import PARAM_SCHEDULERS

import mmseg_kd  # noqa: F401


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
def test_the_learning_rate_is_that_of_0x(schedule: dict) -> None:
    parameters = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    groups = [dict(params=[one], lr=lr) for one, lr in zip(parameters, (6e-5, 6e-4), strict=True)]
    optimizer = torch.optim.SGD(groups)
    scheduler = PARAM_SCHEDULERS.build(
        dict(type='LrUpdater', by_epoch=False, end=400, **schedule),
        default_args=dict(optimizer=optimizer),
    )
    optimizer.step()
    for iteration in range(400):
        for group, base in zip(optimizer.param_groups, (6e-5, 6e-4), strict=True):
            expected = rate_of_0x(schedule, base, iteration, 400)
            assert group['lr'] == pytest.approx(expected, rel=1e-12, abs=1e-18)
        scheduler.step()
