"""Check a checkpoint before a run resumes from it, and restore its random state."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import torch
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner

from mmseg_kd.errors import UserError, one_line
from mmseg_kd.nested import value_at

NEEDED = ('optimizer', 'message_hub', 'meta')


@contextmanager
def resuming(source: str | Path) -> Iterator[None]:
    """Report any error of this block, which resumes from a checkpoint, in one line.

    Raises:
        UserError: The checkpoint cannot be resumed. The message has the file and the reason.
    """
    try:
        yield
    except UserError as error:
        if str(source) in str(error):
            raise
        raise UserError(f'{source}: {error}') from error
    except Exception as error:
        # A missing or invalid entry of the checkpoint raises errors of many types.
        kind = '' if isinstance(error, ValueError) else f'{type(error).__name__}: '
        raise UserError(
            f'{source} cannot be resumed: {kind}{one_line(error)}; resume from another checkpoint, '
            'or start from its weights with load_from'
        ) from error


def check_resumable(checkpoint: dict[str, Any], runner: Runner, source: str | Path) -> None:
    """Check that a run can resume from a checkpoint, and adapt it to the run's folder.

    The paths of the best checkpoints become those in the run's own folder. A file that is missing
    there is dropped with its score, so that the run saves a new best checkpoint.

    Args:
        checkpoint: The checkpoint from `read_checkpoint`, changed in place.
        runner: The run.
        source: The file, for messages.

    Raises:
        UserError: The checkpoint has only the weights.
        ValueError: It is of another kind of run.
    """
    needed = (*NEEDED, 'param_schedulers') if runner.param_schedulers else NEEDED
    if missing := [key for key in needed if key not in checkpoint]:
        raise UserError(
            f'{source} cannot be resumed: it has no {", ".join(missing)} (a best_*.pth or '
            'published file holds the weights alone); resume from an iter_N.pth, or start from '
            'its weights with load_from'
        )
    meta, hub = checkpoint['meta'], checkpoint['message_hub']
    # mmengine would run the config text of a checkpoint of mmsegmentation 0.x.
    meta.pop('config', None)
    if meta['iter'] not in range(runner.max_iters + 1):
        raise ValueError(f'it is of iteration {meta["iter"]}, this run ends at {runner.max_iters}')
    _adopt_best_checkpoints(hub['runtime_info'], runner)
    # All entries are to be resumed: a checkpoint has no others.
    hub['resumed_keys'] = dict.fromkeys([*hub['log_scalars'], *hub['runtime_info']], True)


def check_optimizer(checkpoint: dict[str, Any], runner: Runner) -> None:
    """Check that optimizer and schedulers can load the state in a checkpoint.

    A fused optimizer would crash on a state of another shape.

    Raises:
        ValueError: The state is of other parameters, or of another kind of optimizer or scheduler.
    """
    if isinstance(runner.param_schedulers, list):
        saved, schedulers = checkpoint['param_schedulers'], runner.param_schedulers
        if len(saved) != len(schedulers):
            raise ValueError(f'it has {len(saved)} param_schedulers, the config {len(schedulers)}')
        for i, state in enumerate(saved):
            # A scheduler sets every loaded entry as an attribute, so others are left out.
            saved[i] = {key: state[key] for key in schedulers[i].state_dict() if key in state}
    # Other wrappers, of the user or for several optimizers, have other states.
    if isinstance(runner.optim_wrapper, OptimWrapper):
        _check_optimizer(checkpoint['optimizer'], runner)


def _check_optimizer(saved: dict[str, Any], runner: Runner) -> None:
    groups, own = saved['param_groups'], runner.optim_wrapper.optimizer.param_groups
    if [len(group['params']) for group in groups] != [len(group['params']) for group in own]:
        raise ValueError(
            'it was trained with other parameter groups (if mmengine made them, add --cfg-options '
            'optim_wrapper.constructor=DefaultOptimWrapperConstructor)'
        )
    for key in ('initial_lr', 'weight_decay'):
        if any(a.get(key, b.get(key)) != b.get(key) for a, b in zip(groups, own, strict=True)):
            name = key.removeprefix('initial_')
            runner.logger.warning(
                f"the config's {name} is not used: a resumed optimizer keeps that of its "
                'checkpoint; to change it, start from the weights with load_from'
            )
    parameters = {}
    for group, mine in zip(groups, own, strict=True):
        parameters |= zip(group['params'], mine['params'], strict=True)
        # Another version of torch has more or fewer settings; torch adds those that are missing.
        other, missing = ({*a} - {*b} for a, b in ((group, mine), (mine, group)))
        if other and missing:
            raise ValueError(f'its optimizer has {sorted(other)} in place of {sorted(missing)}')
        # torch would use the checkpoint's setting, but GradScaler uses the config's.
        if 'fused' in mine:
            group['fused'] = runner.cfg.optim_wrapper.get('optimizer', {}).get('fused')
    fused = any(group.get('fused') for group in own)
    for name, entry in saved['state'].items():
        for key, value in entry.items():
            # An older torch stores the number of steps as a plain number.
            shape = torch.as_tensor(value).shape
            if fused and shape not in ((), parameters[name].shape):
                raise ValueError(
                    f'its optimizer.state.{name}.{key} is a tensor of shape {tuple(shape)} that '
                    'does not fit the parameter'
                )


def _adopt_best_checkpoints(info: dict[str, Any], runner: Runner) -> None:
    folder = Path(runner.work_dir)
    for key in [key for key in info if key.startswith('best_ckpt')]:
        # A Windows path splits at both kinds of slash: the run may be from another system.
        file = folder / PureWindowsPath(info[key]).name
        best = value_at(runner.cfg, 'default_hooks.checkpoint.save_best')
        # The score of another metric cannot be compared.
        start = f'best_{best}_'.replace('/', '_')
        other = isinstance(best, str) and not file.name.startswith(start)
        if file.is_file() and not file.is_symlink() and (best == 'auto' or not other):
            info[key] = str(file)
            continue
        runner.logger.warning(
            f'the best checkpoint so far, {info[key]!a}, is not in {folder}: the best one '
            'from here on will be kept'
        )
        del info[key]
        info.pop(key.replace('best_ckpt', 'best_score'), None)


def rng_state() -> dict[str, Any]:
    """Return the random state as plain types and tensors, which a checkpoint can hold as data."""
    # mmseg's transforms draw from numpy's global generator.
    name, keys, *rest = np.random.get_state()  # noqa: NPY002
    return {
        'python': random.getstate(),
        'numpy': [name, torch.from_numpy(keys.astype(np.int64)), *rest],
        'torch': torch.get_rng_state(),
        'cuda': torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def restore_rng(state: dict[str, Any]) -> None:
    """Set the random state to what `rng_state` returned."""
    version, internal, gauss = state['python']
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, *rest = state['numpy']
    if not 0 <= position <= len(keys):
        # numpy would read beyond its end.
        raise ValueError(f'the position {position} is not in the state')
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), position, *rest))  # noqa: NPY002
    torch.set_rng_state(state['torch'].cpu())
    if state['cuda'] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'].cpu())
