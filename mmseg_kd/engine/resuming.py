"""Check everything that a run resumes from before it is used."""

from __future__ import annotations

import copy
import numbers
import reprlib
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath
from typing import Any

import torch
from mmengine.hooks import CheckpointHook
from mmengine.logging import HistoryBuffer
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor

from mmseg_kd.errors import UserError

NEEDED = ('optimizer', 'message_hub', 'meta')
LARGEST_SEED = 2**32 - 1
# What every schedule keeps; other attributes are its type's own.
POSITION = ('last_step', '_global_step', '_last_value', 'base_values')


class _Bent(Exception):
    """Where a checkpoint is not what a run writes, and what is there instead."""


def check_resumable(checkpoint: dict[str, Any], runner: Runner, source: str | Path) -> None:
    """Make sure that a run can resume from a checkpoint.

    Paths of best checkpoints are replaced by those of the run's own folder; one that is not
    there is forgotten with its score, so that the run keeps a new one.

    Args:
        checkpoint: What `read_checkpoint` returned, changed in place.
        runner: The run, with its schedules built.
        source: The file, for messages.

    Raises:
        UserError: The checkpoint has the weights alone, is of another kind of run, or one of its
            entries has another type or shape than those of this run.
    """
    missing = [key for key in NEEDED if key not in checkpoint]
    if runner.param_schedulers and not missing and 'param_schedulers' not in checkpoint:
        missing = ['param_schedulers']
    if missing:
        raise UserError(
            f'{source} cannot be resumed: it has no {", ".join(missing)} (a best_*.pth or '
            'published file holds the weights alone); resume from an iter_N.pth, or start from '
            'its weights with load_from'
        )
    with _refusals(source):
        _check_meta(checkpoint['meta'], runner)
        _check_messages(checkpoint['message_hub'], runner)
        _typed(checkpoint.get('global_batch', 0), int, 'global_batch')


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
    with _refusals(source):
        # An optimizer wrapper of the user's own, or several, have states of their own.
        if isinstance(wrapper, OptimWrapper):
            _check_optimizer(saved, wrapper)
            # With float16, the first steps may all have been skipped.
            accumulated = runner.cfg.optim_wrapper.get('accumulative_counts', 1)
            stepped = checkpoint['meta']['iter'] >= accumulated
            if stepped and 'loss_scaler' not in saved and _state_kept(wrapper.optimizer, (2, 3)):
                _expect(bool(saved['state']), 'optimizer.state', saved['state'])
            # torch would take the checkpoint's choice, while GradScaler asks the config's.
            fused = runner.cfg.optim_wrapper.get('optimizer', {}).get('fused')
            for group in saved['param_groups']:
                if 'fused' in group:
                    group['fused'] = fused
        if isinstance(runner.param_schedulers, list):
            _check_schedulers(checkpoint['param_schedulers'], runner.param_schedulers)


@contextmanager
def _refusals(source: str | Path) -> Iterator[None]:
    try:
        yield
    except _Bent as bent:
        raise UserError(
            f'{source} cannot be resumed: {bent}; resume from another checkpoint, or start from '
            'its weights with load_from'
        ) from bent


def _check_meta(meta: Any, runner: Runner) -> None:
    _typed(meta, dict, 'meta')
    # mmengine runs the config text of a checkpoint of mmsegmentation 0.x.
    meta.pop('config', None)
    for key in ('iter', 'epoch'):
        _expect(_is_whole(meta.get(key)), f'meta.{key}', meta.get(key))
    if meta['iter'] > runner.max_iters:
        raise _Bent(f'it is of iteration {meta["iter"]}, after the last one, {runner.max_iters}')
    seed = meta.get('seed')
    _expect(seed is None or (_is_whole(seed) and seed <= LARGEST_SEED), 'meta.seed', seed)


def _check_messages(hub: Any, runner: Runner) -> None:
    _typed(hub, dict, 'message_hub')
    for part in ('log_scalars', 'runtime_info'):
        _typed(hub.get(part), dict, f'message_hub.{part}')
        for key in hub[part]:
            _typed(key, str, f'a name in message_hub.{part}')
    for key, log in hub['log_scalars'].items():
        known = isinstance(log, HistoryBuffer) and all(
            part.ndim == 1 and part.dtype.kind in 'biuf' for part in log.data
        )
        _expect(known, f'message_hub.log_scalars.{key}', log)
    info = hub['runtime_info']
    _check_runtime_info(info)
    resumed = runner.message_hub.state_dict()['resumed_keys']
    # What this run does not resume came from no run's checkpoint.
    for key in [k for k in info if resumed.get(k) is False]:
        del info[key]
    # A run saves only what is to be resumed.
    hub['resumed_keys'] = dict.fromkeys([*hub['log_scalars'], *info], True)
    _adopt_best_checkpoints(info, runner)


def _check_runtime_info(info: dict[str, Any]) -> None:
    where = 'message_hub.runtime_info'
    for key, value in info.items():
        if key.startswith('best_score'):
            _expect(_is_number(value), f'{where}.{key}', value)
        elif key.startswith('best_ckpt'):
            _typed(value, str, f'{where}.{key}')
    steps = info.get('keep_ckpt_ids', [])
    _expect(isinstance(steps, list) and all(map(_is_whole, steps)), f'{where}.keep_ckpt_ids', steps)
    rows = info.get('evaluations', [])
    known = isinstance(rows, list) and all(
        isinstance(row, dict) and 'iter' in row and all(map(_is_number, row.values()))
        for row in rows
    )
    _expect(known, f'{where}.evaluations', rows)
    record = info.get('teacher', {})
    _typed(record, dict, f'{where}.teacher')
    for one in [record] if 'sha256' in record else record.values():
        known = isinstance(one, dict) and all(
            isinstance(one.get(key), str) for key in ('sha256', 'checkpoint')
        )
        _expect(known, f'{where}.teacher', one)


def _adopt_best_checkpoints(info: dict[str, Any], runner: Runner) -> None:
    folder = _checkpoint_folder(runner)
    for key in [key for key in info if key.startswith('best_ckpt')]:
        # A Windows path splits at both kinds of slash, wherever the run began.
        file = folder / PureWindowsPath(info[key]).name
        if file.is_file() and not file.is_symlink():
            info[key] = str(file)
            continue
        runner.logger.warning(
            f'the best checkpoint so far, {info[key]!a}, is not in {folder}: the best one '
            'from here on will be kept'
        )
        del info[key]
        info.pop(key.replace('best_ckpt', 'best_score'), None)


def _checkpoint_folder(runner: Runner) -> Path:
    work_dir = Path(runner.work_dir)
    out_dirs = [hook.out_dir for hook in runner.hooks if isinstance(hook, CheckpointHook)]
    return Path(out_dirs[0]) / work_dir.name if out_dirs and out_dirs[0] else work_dir


def _check_optimizer(saved: Any, wrapper: OptimWrapper) -> None:
    _typed(saved, dict, 'optimizer')
    state, groups = saved.get('state'), saved.get('param_groups')
    _typed(state, dict, 'optimizer.state')
    _typed(groups, list, 'optimizer.param_groups')
    for i, group in enumerate(groups):
        _typed(group, dict, f'optimizer.param_groups.{i}')
        _typed(group.get('params'), list, f'optimizer.param_groups.{i}.params')
    own = wrapper.optimizer.param_groups
    if [len(group['params']) for group in groups] != [len(group['params']) for group in own]:
        raise _Bent(
            'it was trained with other parameter groups (if mmengine made them, add --cfg-options '
            'optim_wrapper.constructor=DefaultOptimWrapperConstructor)'
        )
    for i, (group, mine) in enumerate(zip(groups, own, strict=True)):
        _settings_alike(group, mine, f'optimizer.param_groups.{i}')
    names = [name for group in groups for name in group['params']]
    _expect(
        all(map(_is_whole, names)) and len({*names}) == len(names),
        'optimizer.param_groups.params',
        names,
    )
    parameters = dict(zip(names, (p for group in own for p in group['params']), strict=True))
    kept = _state_kept(wrapper.optimizer, (2, 3))
    for name, entry in state.items():
        where = f'optimizer.state.{name}'
        _expect(name in parameters, 'optimizer.state', name)
        _typed(entry, dict, where)
        if kept is not None and entry:
            _check_state(entry, kept, parameters[name], where)
    mine = wrapper.state_dict()
    for key in ('loss_scaler', 'base_param_settings'):
        if key in saved:
            _typed(saved[key], dict, f'optimizer.{key}')
            _settings_alike(saved[key], mine.get(key) or {}, f'optimizer.{key}')


def _settings_alike(saved: dict[str, Any], own: dict[str, Any], where: str) -> None:
    for key, value in own.items():
        # An older torch saved fewer settings.
        if key != 'params':
            _alike(saved.setdefault(key, value), value, f'{where}.{key}')


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
    _expect(set(entry) == set(kept), where, sorted(map(str, entry)))
    for key, example in kept.items():
        value = entry[key]
        if not isinstance(example, Tensor):
            _alike(value, example, f'{where}.{key}')
            continue
        if _is_number(value):
            # Counted in a plain number by an older torch.
            value = entry[key] = torch.tensor(float(value))
        shape = {(): (), (2, 3): tuple(parameter.shape)}.get(tuple(example.shape))
        known = _is_plain(value) and shape in (None, tuple(value.shape))
        _expect(known and bool(value.isfinite().all()), f'{where}.{key}', value)


def _check_schedulers(saved: Any, own: list) -> None:
    _typed(saved, list, 'param_schedulers')
    if len(saved) != len(own):
        raise _Bent(f'it has {len(saved)} param_schedulers, the config {len(own)}')
    for i, (state, scheduler) in enumerate(zip(saved, own, strict=True)):
        where = f'param_schedulers.{i}'
        _typed(state, dict, where)
        mine = scheduler.state_dict()
        for key in POSITION:
            _expect(key in state, f'{where}.{key}', None)
        # What is loaded becomes attributes, so no others than the schedule's own.
        for key in [*state]:
            if key not in mine:
                del state[key]
            else:
                _alike(state[key], mine[key], f'{where}.{key}')


def _alike(found: Any, own: Any, where: str) -> None:
    """Raise where a value is not of the kind that the run itself has."""
    if own is None or isinstance(own, bool):
        known = found is None or isinstance(found, bool)
    elif isinstance(own, numbers.Real):
        known = _is_number(found)
    elif isinstance(own, Tensor):
        known = _is_number(found) or (_is_plain(found) and found.shape == own.shape)
    elif isinstance(own, list | tuple):
        known = isinstance(found, list | tuple) and len(found) == len(own)
        for i, (item, mine) in enumerate(zip(found, own, strict=True) if known else ()):
            _alike(item, mine, f'{where}.{i}')
    else:
        known = isinstance(found, dict) if isinstance(own, dict) else type(found) is type(own)
    _expect(known, where, found)


def _is_number(value: Any) -> bool:
    # Comparing takes integers of any length, and NaN is not in the range.
    return (
        isinstance(value, numbers.Real) and not isinstance(value, bool) and -1e300 < value < 1e300
    )


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_plain(value: Any) -> bool:
    return (
        isinstance(value, Tensor)
        and value.layout is torch.strided
        and not (value.is_complex() or value.is_quantized or value.is_meta)
    )


def _typed(value: Any, kind: type, where: str) -> None:
    _expect(isinstance(value, kind), where, value)


def _expect(condition: bool, where: str, found: Any) -> None:
    if condition:
        return
    if isinstance(found, Tensor):
        text = f'a tensor of shape {tuple(found.shape)}'
    else:
        # It comes from the file.
        text = ascii(reprlib.repr(found))[1:-1]
    raise _Bent(f'its {where} is not of the kind that this run saves ({text})')
