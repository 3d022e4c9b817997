"""Times and peak memory of runs that take turns in one process."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch.profiler import ProfilerActivity, profile

MIB = 2**20


def interleaved(
    runs: Mapping[str, Callable[[], object]], repeats: int, warmup: int = 1
) -> dict[str, list[float]]:
    """Time every run `repeats` times, in turns, after `warmup` turns that do not count.

    A turn calls a run twice and times the second call. The first finds the caches and the allocator
    as the run before left them, which no training loop does.

    Args:
        runs: What to time, by name.
        repeats: Number of timed turns.
        warmup: Number of turns before them.

    Returns:
        Seconds of each timed call by the run's name. On a GPU a call ends when its kernels have.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    gc.collect()
    gc.disable()
    try:
        for turn in range(warmup + repeats):
            for name, run in runs.items():
                run()
                passed = seconds_of(run)
                if turn >= warmup:
                    seconds[name].append(passed)
            gc.collect()
    finally:
        gc.enable()
    return seconds


def seconds_of(run: Callable[[], object], times: int = 1) -> float:
    """Time calls of a run, until their kernels have ended; returns seconds per call."""
    wait_for_device()
    start = time.perf_counter()
    for _ in range(times):
        run()
    wait_for_device()
    return (time.perf_counter() - start) / times


def wait_for_device() -> None:
    """Wait until a GPU, if there is one, has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


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
    """Divide the times of stock by ours, turn by turn, so that slow moments cancel."""
    return Spread.of([s / o for s, o in zip(stock, ours, strict=True)])


def peak_memory(step: Callable[[], object], device: str) -> float:
    """Measure the MiB that torch allocates at most during a step, beyond those before it.

    The step runs twice. The first run makes the optimizer's state, which does not count.
    """
    step()
    if device != 'cpu':
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / MIB
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        step()
    events = (e for e in recorded.profiler.kineto_results.events() if e.name() == '[memory]')
    changes = [e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())]
    return max(accumulate(changes), default=0) / MIB
