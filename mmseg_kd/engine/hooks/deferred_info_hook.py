"""Log scalars that stay on their device until a line is written."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import RuntimeInfoHook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import Tensor

from mmseg_kd.engine.deferred_buffer import DeferredBuffer


@HOOKS.register_module()
class DeferredInfoHook(RuntimeInfoHook):
    """mmengine's RuntimeInfoHook that does not read the losses from the device in every iteration.

    What a training step returns goes into a `DeferredBuffer` a name, and becomes numbers when
    someone reads them: a log line, a checkpoint, another hook. The numbers are the same.
    """

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Continue every log in a `DeferredBuffer`, and note iteration and learning rate."""
        logs = runner.message_hub.log_scalars
        for name, log in logs.items():
            if not isinstance(log, DeferredBuffer):
                logs[name] = DeferredBuffer(log)
        super().before_train_iter(runner, batch_idx, data_batch)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Note what the step returned."""
        hub = runner.message_hub
        for name in [name for name in hub.log_scalars if name.endswith('_raw')]:
            # The mean of a loss that is no longer computed would stay the same for ever.
            if outputs and name.removeprefix('train/') not in outputs:
                del hub.log_scalars[name]
        for name, value in (outputs or {}).items():
            log = hub.log_scalars.get(f'train/{name}')
            if isinstance(log, DeferredBuffer) and isinstance(value, Tensor):
                log.update(value)
            else:
                # The first number of a name makes its log.
                hub.update_scalar(f'train/{name}', value)
