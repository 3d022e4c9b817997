"""Times and peak memory of runs that take turns in one process."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile

from mmseg_kd.engine.devices import now

MIB = 2**20


def interleaved(
    runs: Mapping[str, Callable[[], object]], repeats: int, warmup: int = 1, calls: int = 1
) -> dict[str, list[float]]:
    """Time every run `repeats` times, in turns, after `warmup` turns that do not count.

    Args:
        runs: What to time, by name.
        repeats: Number of timed turns.
        warmup: Number of turns before them.
        calls: Number of timed calls in a turn.

    Returns:
        Seconds per call of each timed turn by the run's name.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(warmup + repeats):
        for name, run in runs.items():
            passed = seconds_of(run, calls)
            if turn >= warmup:
                seconds[name].append(passed)
    return seconds


def seconds_of(run: Callable[[], object], times: int = 1) -> float:
    """Call a run once, then time calls of it until their kernels have ended.

    The first call finds the caches and the allocator as another run left them. In a training loop
    the same run leaves them.

    Returns:
        Seconds per timed call.
    """
    run()
    start = now()
    for _ in range(times):
        run()
    return (now() - start) / times


class Spread(NamedTuple):
    """Median, least and greatest of n measurements."""

    median: float
    least: float
    greatest: float
    n: int

    def __format__(self, spec: str) -> str:
        return f'{self.median:{spec}} ({self.least:{spec}} to {self.greatest:{spec}})'


def spread_of(values: Sequence[float]) -> Spread:
    """Summarise measurements."""
    return Spread(statistics.median(values), min(values), max(values), len(values))


def ratio(stock: Sequence[float], ours: Sequence[float]) -> Spread:
    """Divide the times of stock by ours, turn by turn, so that slow moments cancel."""
    return spread_of([s / o for s, o in zip(stock, ours, strict=True)])


def peak_memory(step: Callable[[], object], device: str) -> float:
    """Measure the MiB that torch allocates at most during a step, beyond those before it.

    The step runs twice. The first run makes the optimizer's state, which does not count.
    """
    step()
    if device != 'cpu':
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        return (torch.cuda.max_memory_allocated() - before) / MIB
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        step()
    events = (e for e in recorded.profiler.kineto_results.events() if e.name() == '[memory]')
    changes = [e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())]
    return max(accumulate(changes), default=0) / MIB
