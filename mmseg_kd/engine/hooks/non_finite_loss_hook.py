"""Stop a training whose loss or weights are NaN or infinite."""

from itertools import takewhile
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
    """Stop training when the loss stays NaN or infinite, or when a weight is.

    The hook checks the logged losses whenever another reader, at the latest a log line, has fetched
    them from the device, so no iteration waits for the check. It checks the weights before a
    checkpoint is written, so the latest checkpoint is always finite. A step that `--amp` skips
    because its gradients overflow has a finite loss and does not count.

    The hook is on by default; `default_hooks.non_finite_loss=None` switches it off.

    Args:
        max_consecutive: Number of consecutive iterations with a non-finite loss at which training
            stops.

    Raises:
        UserError: From the training: the loss or a weight is not finite.
    """

    # After the log line of the iteration, before its checkpoint.
    priority = 'LOW'

    def __init__(self, max_consecutive: int = 5) -> None:
        self.max_consecutive = max_consecutive

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Count the latest losses that are not finite, if they are fetched already."""
        log = runner.message_hub.log_scalars.get('train/loss')
        if log is None or getattr(log, 'pending', ()):
            return
        streak = _streak(runner)
        if streak >= self.max_consecutive:
            first = runner.iter + 2 - streak
            what = f'the loss has not been finite since iteration {first} ({streak} iterations)'
            raise UserError(_message(runner, what))

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Raise UserError instead of saving weights that are not finite."""
        for name, tensor in checkpoint['state_dict'].items():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                what = f'{name} is not finite, so no checkpoint was written'
                raise UserError(_message(runner, what))


def _streak(runner: Runner) -> int:
    """Return the number of losses at the end of the log that are not finite."""
    log = runner.message_hub.log_scalars.get('train/loss')
    latest = log.data[0][::-1] if log is not None else []
    return sum(1 for _ in takewhile(lambda loss: not np.isfinite(loss), latest))


def _message(runner: Runner, what: str) -> str:
    """Return a message with the problem, the losses where it began, and the keys to lower."""
    first = max(1, _streak(runner))
    losses = {
        name.removeprefix('train/'): log.data[0][-first]
        for name, log in runner.message_hub.log_scalars.items()
        if name.startswith('train/') and 'loss' in name and len(log.data[0]) >= first
    }
    lower = ['optim_wrapper.optimizer.lr']
    for name in runner.kd_losses:
        if not np.isfinite(losses.get(log_names(name)[0], 0)):
            lower.append(f'model.kd_losses.{name}.loss_weight')
    latest = find_latest_checkpoint(runner.work_dir)
    where = f'the last good checkpoint is {latest}' if latest else 'no checkpoint was saved before'
    return (
        f'iteration {runner.iter + 1}: {what}; there the losses were '
        f'{", ".join(f"{name}={value:.4g}" for name, value in losses.items())}; {where}; lower '
        f'{" or ".join(lower)}, or clip gradients with optim_wrapper.clip_grad.max_norm=1.0, then '
        f'{"continue with --resume, which keeps the rate" if latest else "start again"}'
    )
