"""Stop a training whose loss is no longer a number."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_kd.checkpoints import find_latest_checkpoint
from mmseg_kd.distillation.base import log_names
from mmseg_kd.errors import UserError


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Stop training when the loss stays NaN or infinite, or when the weights are.

    The logged losses are looked at whenever they have been fetched from the device, at the
    latest when a log line is written, so no iteration waits for it. Before a checkpoint is
    written its weights are checked; so the latest checkpoint is always a good one. A step that
    `--amp` skips because its gradients overflow has a finite loss and is not counted.

    It is on by default; `default_hooks.non_finite_loss=None` switches it off.

    Args:
        max_consecutive: Number of consecutive iterations with a non-finite loss at which training
            stops.

    Raises:
        UserError: `max_consecutive` is not a whole number from 1 up; during training, the loss
            or a weight is not finite.
    """

    # After the log line of the iteration, before its checkpoint.
    priority = 'LOW'

    def __init__(self, max_consecutive: int = 5) -> None:
        if not isinstance(max_consecutive, int) or isinstance(max_consecutive, bool):
            max_consecutive = 0
        if max_consecutive < 1:
            raise UserError(
                'default_hooks.non_finite_loss.max_consecutive must be a whole number from 1 up; '
                'default_hooks.non_finite_loss=None switches the check off'
            )
        self.max_consecutive = max_consecutive

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Count the latest losses that are not finite, if they are on the host already."""
        log = runner.message_hub.log_scalars.get('train/loss')
        if log is None or getattr(log, 'pending', 0):
            return
        latest = log.data[0][-self.max_consecutive :]
        if len(latest) == self.max_consecutive and not np.isfinite(latest).any():
            streak = _streak(log.data[0])
            first = runner.iter + 2 - streak
            what = f'the loss has not been finite since iteration {first} ({streak} iterations)'
            raise UserError(_message(runner, what, streak))

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Refuse to save weights that are not finite."""
        for name, tensor in checkpoint['state_dict'].items():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                log = runner.message_hub.log_scalars.get('train/loss')
                streak = _streak(log.data[0]) if log is not None else 0
                what = f'{name} is not finite, so no checkpoint was written'
                raise UserError(_message(runner, what, max(1, streak)))


def _streak(history: np.ndarray) -> int:
    """Number of values at the end that are not finite."""
    finite = np.flatnonzero(np.isfinite(history))
    return len(history) - (finite[-1] + 1 if len(finite) else 0)


def _message(runner: Runner, what: str, back: int) -> str:
    """What is wrong, the losses where it began, `back` iterations ago, and what to lower."""
    losses = {
        name.removeprefix('train/'): log.data[0][-back]
        for name, log in runner.message_hub.log_scalars.items()
        if name.startswith('train/') and 'loss' in name and len(log.data[0]) >= back
    }
    wrapper, weights = runner.cfg.get('optim_wrapper') or {}, []
    for name in getattr(runner.bare_model, 'kd_losses', None) or ():
        if not np.isfinite(losses.get(log_names(name)[0], 0)):
            weights.append(f'model.kd_losses.{name}.loss_weight')
    lower = ' or '.join(['optim_wrapper.optimizer.lr', *weights])
    if not wrapper.get('clip_grad'):
        lower += ', or clip gradients with optim_wrapper.clip_grad.max_norm=1.0'
    if wrapper.get('type') == 'AmpOptimWrapper':
        lower += ', or train without --amp'
    latest = find_latest_checkpoint(runner.work_dir)
    where = f'the last good checkpoint is {latest}' if latest else 'no checkpoint was saved before'
    return (
        f'iteration {runner.iter + 1}: {what}; there the losses were '
        f'{", ".join(f"{name}={value:.4g}" for name, value in losses.items())}; {where}; lower '
        f'{lower}, then {"continue with --resume" if latest else "start again"}'
    )
