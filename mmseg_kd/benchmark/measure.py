"""Timing that survives a noisy machine: the candidates take turns within one process."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch


def interleaved(
    runs: Mapping[str, Callable[[], object]],
    repeats: int,
    warmup: int = 1,
    settle: bool = True,
) -> dict[str, list[float]]:
    """Time every run `repeats` times, in turns, after `warmup` turns that do not count.

    With `settle` a run is called twice in each turn and the second call is timed: the first finds
    caches and the allocator as the candidate before left them, which no user's loop does.

    Returns:
        Seconds of each call by the run's name. On a GPU a call ends when its kernels have.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    gc.collect()
    gc.disable()
    try:
        for turn in range(warmup + repeats):
            for name, run in runs.items():
                if settle:
                    run()
                _wait_for_device()
                start = time.perf_counter()
                run()
                _wait_for_device()
                if turn >= warmup:
                    seconds[name].append(time.perf_counter() - start)
            gc.collect()
    finally:
        gc.enable()
    return seconds


@dataclass
class Spread:
    """Median, least and greatest of n measurements."""

    median: float
    least: float
    greatest: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise measurements."""
        return cls(statistics.median(values), min(values), max(values), len(values))

    def __str__(self) -> str:
        return f'{self.median:.2f} ({self.least:.2f} to {self.greatest:.2f})'


def ratio(stock: Sequence[float], ours: Sequence[float]) -> Spread:
    """How many times faster `ours` is, turn by turn, so that slow moments cancel."""
    return Spread.of([s / o for s, o in zip(stock, ours, strict=True)])


def _wait_for_device() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
