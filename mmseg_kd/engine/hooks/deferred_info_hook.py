"""Log scalars that stay on their device until a line is written."""

from typing import Any

import numpy as np
import torch
from mmengine.hooks import RuntimeInfoHook
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import Tensor


class DeferredBuffer(HistoryBuffer):
    """A HistoryBuffer that keeps tensors and fetches them from their device when it is read.

    A fetch waits until the GPU has finished its work, so with a fetch per step the CPU could not
    prepare the next step. A copy or a pickle is a plain HistoryBuffer.

    Args:
        history: The buffer to continue.

    Attributes:
        pending: The values that are not fetched yet, with their counts.
    """

    def __init__(self, history: HistoryBuffer) -> None:
        self.pending: list[tuple[float | Tensor, int]] = []
        super().__init__(*history.data, history.max_length)

    def update(self, log_val: float | Tensor, count: int = 1) -> None:
        """Append a number, or a tensor that holds one."""
        if isinstance(log_val, Tensor):
            log_val = log_val.detach().reshape(())
        # Numbers are collected too: mmengine copies the whole log for each of them.
        self.pending.append((log_val, count))

    def current(self) -> float:
        """Return the latest value; a number without a fetch: IterTimerHook reads it every step."""
        last = self.pending[-1][0] if self.pending else None
        return super().current() if last is None or isinstance(last, Tensor) else last

    # HistoryBuffer's methods read this before the counts, so both are complete.
    @property
    def _log_history(self) -> np.ndarray:
        if self.pending:
            values, counts = zip(*self.pending, strict=True)
            self.pending = []
            tensors = [value for value in values if isinstance(value, Tensor)]
            fetched = iter(torch.stack(tensors).tolist() if tensors else ())
            new = [next(fetched) if isinstance(value, Tensor) else value for value in values]
            self._numbers = np.append(self._numbers, new)[-self.max_length :]
            self._count_history = np.append(self._count_history, counts)[-self.max_length :]
        return self._numbers

    @_log_history.setter
    def _log_history(self, numbers: np.ndarray) -> None:
        self._numbers = numbers

    def __reduce__(self) -> tuple:
        return HistoryBuffer, (*self.data, self.max_length)


@HOOKS.register_module()
class DeferredInfoHook(RuntimeInfoHook):
    """mmengine's RuntimeInfoHook that does not read the losses from the device in every iteration.

    Each logged name has a `DeferredBuffer`. Tensors become numbers when a log line, a checkpoint or
    another hook reads them. The numbers are the same.
    """

    def after_train_iter(self, runner: Runner, outputs: dict | None = None, **_: Any) -> None:
        """Log the scalars that the step returned."""
        logs = runner.message_hub.log_scalars
        for name, log in logs.items():
            if not isinstance(log, DeferredBuffer):
                logs[name] = DeferredBuffer(log)
        outputs = {f'train/{name}': value for name, value in (outputs or {}).items()}
        # A loss that is no longer computed would be logged with its last mean.
        for name in {x for x in logs if x.endswith('_raw') and outputs} - outputs.keys():
            del logs[name]
        for name, value in outputs.items():
            if name in logs and isinstance(value, Tensor):
                logs[name].update(value)
            else:
                # mmengine creates the log of a new name.
                runner.message_hub.update_scalar(name, value)
