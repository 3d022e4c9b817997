"""Check the state of optimizer and schedules that a run resumes from."""

from __future__ import annotations

import copy
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from mmengine.optim import OptimWrapper, _ParamScheduler
from mmengine.runner import Runner
from torch import Tensor

from mmseg_kd.engine.resuming.values import (
    Bent,
    check_alike,
    expect,
    is_dict,
    is_number,
    is_plain,
    is_whole,
    refusals,
)

# Of the parameter on which an optimizer is tried.
SHAPE = (2, 3)
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
    with refusals(source):
        # An optimizer wrapper of the user's own, or several, have states of their own.
        if isinstance(runner.optim_wrapper, OptimWrapper):
            _check_optimizer(checkpoint, runner)
        if isinstance(runner.param_schedulers, list):
            _check_schedulers(checkpoint['param_schedulers'], runner.param_schedulers)


def _check_optimizer(checkpoint: dict[str, Any], runner: Runner) -> None:
    saved, wrapper = checkpoint['optimizer'], runner.optim_wrapper
    expect(is_dict(saved), 'optimizer', saved)
    own = wrapper.state_dict()
    state, groups = saved.get('state'), saved.get('param_groups')
    expect(is_dict(state), 'optimizer.state', state)
    expect(isinstance(groups, list), 'optimizer.param_groups', groups)
    for i, group in enumerate(groups):
        where = f'optimizer.param_groups.{i}'
        expect(is_dict(group), where, group)
        expect(isinstance(group.get('params'), list), f'{where}.params', group.get('params'))
    sizes, own_sizes = ([len(g['params']) for g in x] for x in (groups, own['param_groups']))
    if sizes != own_sizes:
        raise Bent(
            'it was trained with other parameter groups (if mmengine made them, add --cfg-options '
            'optim_wrapper.constructor=DefaultOptimWrapperConstructor)'
        )
    settings = {key: own[key] for key in own if key in saved and key != 'state'}
    check_alike(saved, settings, 'optimizer')
    # torch numbers the parameters by group.
    names = [name for group in groups for name in group['params']]
    expect(names == [*range(len(names))], 'optimizer.param_groups.params', names)
    parameters = [p for group in wrapper.optimizer.param_groups for p in group['params']]
    kept = _state_kept(wrapper.optimizer)
    options = runner.cfg.optim_wrapper
    # With float16, the first steps may all have been skipped.
    stepped = checkpoint['meta']['iter'] >= options.get('accumulative_counts', 1)
    if stepped and kept and 'loss_scaler' not in saved:
        expect(bool(state), 'optimizer.state', state)
    for name, entry in state.items():
        expect(is_whole(name) and name < len(names), 'optimizer.state', name)
        expect(is_dict(entry), f'optimizer.state.{name}', entry)
        if kept is not None and entry:
            _check_state(entry, kept, parameters[name], f'optimizer.state.{name}')
    for group in groups:
        # torch would take the checkpoint's choice, while GradScaler asks the config's.
        if 'fused' in group:
            group['fused'] = options.get('optimizer', {}).get('fused')


def _state_kept(optimizer: torch.optim.Optimizer) -> dict | None:
    """What an optimizer keeps for a parameter of shape (2, 3); None where it cannot be tried."""
    group = optimizer.param_groups[0]
    parameter = torch.zeros(SHAPE, device=group['params'][0].device, requires_grad=True)
    parameter.grad = torch.zeros_like(parameter)
    probe = copy.copy(optimizer)
    probe.state = defaultdict(dict)
    probe.param_groups = [{**group, 'params': [parameter]}]
    try:
        type(optimizer).step(probe)
    # An optimizer of the user's own may need more than its groups.
    except Exception:
        return None
    return probe.state[parameter]


def _check_state(entry: dict, kept: dict, parameter: Tensor, where: str) -> None:
    expect(set(entry) == set(kept), where, sorted(map(str, entry)))
    for key, example in kept.items():
        if not isinstance(example, Tensor):
            check_alike(entry[key], example, f'{where}.{key}')
            continue
        if is_number(entry[key]):
            # Counted in a plain number by an older torch.
            entry[key] = torch.tensor(float(entry[key]))
        value = entry[key]
        # Of another shape are parts of a parameter's, whose sizes follow from it.
        shape = {(): (), SHAPE: parameter.shape}.get(tuple(example.shape))
        known = is_plain(value) and shape in (None, tuple(value.shape))
        known = known and bool(value.isfinite().all())
        expect(known, f'{where}.{key}', value)


def _check_schedulers(saved: Any, own: list[_ParamScheduler]) -> None:
    expect(isinstance(saved, list), 'param_schedulers', saved)
    if len(saved) != len(own):
        raise Bent(f'it has {len(saved)} param_schedulers, the config {len(own)}')
    for i, scheduler in enumerate(own):
        where, mine = f'param_schedulers.{i}', scheduler.state_dict()
        expect(is_dict(saved[i]), where, saved[i])
        for key in POSITION:
            expect(key in saved[i], f'{where}.{key}', None)
        # What is loaded becomes attributes, so no others than the schedule's own.
        saved[i] = {key: value for key, value in saved[i].items() if key in mine}
        check_alike(saved[i], mine, where)
