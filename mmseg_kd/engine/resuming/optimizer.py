"""Check the state of optimizer and schedules that a run resumes from."""

from __future__ import annotations

import copy
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor

from mmseg_kd.engine.resuming.values import (
    Bent,
    check_alike,
    check_type,
    expect,
    is_number,
    is_plain,
    is_whole,
    refusals,
)

# What every schedule keeps; other attributes are its type's own.
POSITION = ('last_step', '_global_step', '_last_value', 'base_values')


def check_optimizer(checkpoint: dict[str, Any], runner: Runner, source: str | Path) -> None:
    """Make sure that optimizer and schedules can take a saved state.

    A fused optimizer crashes on a state of another shape.

    Args:
        checkpoint: A checkpoint that `check_resumable` has passed; what an older torch left out
            of its optimizer is filled in.
        runner: The run, with its optimizer and schedules built.
        source: The file, for messages.

    Raises:
        UserError: It is of other parameters, or of another kind of optimizer or schedule.
    """
    wrapper, saved = runner.optim_wrapper, checkpoint['optimizer']
    with refusals(source):
        # An optimizer wrapper of the user's own, or several, have states of their own.
        if isinstance(wrapper, OptimWrapper):
            _check_optimizer(saved, wrapper)
            # With float16, the first steps may all have been skipped.
            accumulated = runner.cfg.optim_wrapper.get('accumulative_counts', 1)
            stepped = checkpoint['meta']['iter'] >= accumulated
            if stepped and 'loss_scaler' not in saved and _state_kept(wrapper.optimizer, (2, 3)):
                expect(bool(saved['state']), 'optimizer.state', saved['state'])
            # torch would take the checkpoint's choice, while GradScaler asks the config's.
            fused = runner.cfg.optim_wrapper.get('optimizer', {}).get('fused')
            for group in saved['param_groups']:
                if 'fused' in group:
                    group['fused'] = fused
        if isinstance(runner.param_schedulers, list):
            _check_schedulers(checkpoint['param_schedulers'], runner.param_schedulers)


def _check_optimizer(saved: Any, wrapper: OptimWrapper) -> None:
    check_type(saved, dict, 'optimizer')
    state, groups = saved.get('state'), saved.get('param_groups')
    check_type(state, dict, 'optimizer.state')
    check_type(groups, list, 'optimizer.param_groups')
    for i, group in enumerate(groups):
        check_type(group, dict, f'optimizer.param_groups.{i}')
        check_type(group.get('params'), list, f'optimizer.param_groups.{i}.params')
    own = wrapper.optimizer.param_groups
    if [len(group['params']) for group in groups] != [len(group['params']) for group in own]:
        raise Bent(
            'it was trained with other parameter groups (if mmengine made them, add --cfg-options '
            'optim_wrapper.constructor=DefaultOptimWrapperConstructor)'
        )
    for i, (group, mine) in enumerate(zip(groups, own, strict=True)):
        _settings_alike(group, mine, f'optimizer.param_groups.{i}')
    names = [name for group in groups for name in group['params']]
    expect(
        all(map(is_whole, names)) and len({*names}) == len(names),
        'optimizer.param_groups.params',
        names,
    )
    parameters = dict(zip(names, (p for group in own for p in group['params']), strict=True))
    kept = _state_kept(wrapper.optimizer, (2, 3))
    for name, entry in state.items():
        where = f'optimizer.state.{name}'
        expect(name in parameters, 'optimizer.state', name)
        check_type(entry, dict, where)
        if kept is not None and entry:
            _check_state(entry, kept, parameters[name], where)
    mine = wrapper.state_dict()
    for key in ('loss_scaler', 'base_param_settings'):
        if key in saved:
            check_type(saved[key], dict, f'optimizer.{key}')
            _settings_alike(saved[key], mine.get(key) or {}, f'optimizer.{key}')


def _settings_alike(saved: dict[str, Any], own: dict[str, Any], where: str) -> None:
    for key, value in own.items():
        # An older torch saved fewer settings.
        if key != 'params':
            check_alike(saved.setdefault(key, value), value, f'{where}.{key}')


def _state_kept(optimizer: torch.optim.Optimizer, shape: tuple[int, ...]) -> dict | None:
    """What an optimizer keeps for a parameter of a shape; None where it cannot be tried."""
    group = optimizer.param_groups[0]
    parameter = torch.zeros(shape, device=group['params'][0].device, requires_grad=True)
    parameter.grad = torch.zeros_like(parameter)
    try:
        probe = copy.copy(optimizer)
        probe.state = defaultdict(dict)
        probe.param_groups = [{**group, 'params': [parameter]}]
        type(optimizer).step(probe)
    # An optimizer of the user's own may need more than its groups.
    except Exception:
        return None
    return probe.state[parameter]


def _check_state(entry: dict, kept: dict, parameter: Tensor, where: str) -> None:
    expect(set(entry) == set(kept), where, sorted(map(str, entry)))
    for key, example in kept.items():
        value = entry[key]
        if not isinstance(example, Tensor):
            check_alike(value, example, f'{where}.{key}')
            continue
        if is_number(value):
            # Counted in a plain number by an older torch.
            value = entry[key] = torch.tensor(float(value))
        shape = {(): (), (2, 3): tuple(parameter.shape)}.get(tuple(example.shape))
        known = is_plain(value) and shape in (None, tuple(value.shape))
        expect(known and bool(value.isfinite().all()), f'{where}.{key}', value)


def _check_schedulers(saved: Any, own: list) -> None:
    check_type(saved, list, 'param_schedulers')
    if len(saved) != len(own):
        raise Bent(f'it has {len(saved)} param_schedulers, the config {len(own)}')
    for i, (state, scheduler) in enumerate(zip(saved, own, strict=True)):
        where = f'param_schedulers.{i}'
        check_type(state, dict, where)
        mine = scheduler.state_dict()
        for key in POSITION:
            expect(key in state, f'{where}.{key}', None)
        # What is loaded becomes attributes, so no others than the schedule's own.
        for key in [*state]:
            if key not in mine:
                del state[key]
            else:
                check_alike(state[key], mine[key], f'{where}.{key}')
