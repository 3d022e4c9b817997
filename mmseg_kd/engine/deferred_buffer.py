"""A log of numbers that may still be on their way from a GPU."""

from __future__ import annotations

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor

# A tensor takes memory of its device, so those of a run that is never logged are fetched too.
MOST_PENDING = 1000


class DeferredBuffer(HistoryBuffer):
    """A HistoryBuffer that takes tensors as they are and fetches them together when it is read.

    A fetch waits until the device has done all that it was given, so a fetch a step would keep
    a GPU from working ahead. HistoryBuffer also copies its whole history to append a number;
    here appending takes constant time. A copy or a pickle is a plain HistoryBuffer.

    Args:
        history: The buffer to continue.
    """

    def __init__(self, history: HistoryBuffer) -> None:
        super().__init__(max_length=history.max_length)
        self._settled = history.data
        self._pending: list[tuple[float | Tensor, int]] = []

    def update(self, log_val: float | Tensor, count: int = 1) -> None:
        """Append a number, or a tensor that holds one."""
        if isinstance(log_val, Tensor):
            log_val = log_val.detach().reshape(())
        self._pending.append((log_val, count))
        if len(self._pending) >= MOST_PENDING:
            self._settle()

    def current(self) -> float:
        """Return the latest number."""
        if self._pending and not isinstance(self._pending[-1][0], Tensor):
            return self._pending[-1][0]
        return super().current()

    @property
    def pending(self) -> int:
        """The number of values that are still to be fetched."""
        return len(self._pending)

    @property
    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """All numbers (n,) and their counts (n,)."""
        self._settle()
        return self._settled

    # Where HistoryBuffer's statistics read.
    _log_history = property(lambda self: self.data[0], lambda self, value: None)
    _count_history = property(lambda self: self.data[1], lambda self, value: None)

    def __reduce__(self) -> tuple:
        return HistoryBuffer, (*self.data, self.max_length)

    def _settle(self) -> None:
        if not self._pending:
            return
        values, counts = zip(*self._pending, strict=True)
        self._pending = []
        tensors = [value for value in values if isinstance(value, Tensor)]
        fetched = iter(torch.stack(tensors).tolist() if tensors else [])
        numbers = [next(fetched) if isinstance(value, Tensor) else value for value in values]
        self._settled = tuple(
            np.append(old, new)[-self.max_length :]
            for old, new in zip(self._settled, (numbers, counts), strict=True)
        )
