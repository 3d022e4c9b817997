"""Times and peak memory of runs that take turns in one process."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from itertools import accumulate

import torch
from torch.profiler import ProfilerActivity, profile

MIB = 2**20
# Calls whose memory counts on a GPU: a step is recorded as a graph after three.
FIRST_CALLS = 6


def interleaved(
    runs: Mapping[str, Callable[[], object]], repeats: int, warmup: int = 1, times: int = 1
) -> dict[str, list[float]]:
    """Time every run `repeats` times, in turns, after `warmup` turns that do not count.

    A turn calls a run once before it is timed. This call finds the caches and the allocator as the
    run before left them, which no training loop does.

    Args:
        runs: What to time, by name.
        repeats: Number of timed turns.
        warmup: Number of turns before them.
        times: Calls that are timed together.

    Returns:
        Seconds per call of each turn by the run's name. On a GPU a call ends when its kernels have.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(warmup + repeats):
        for name, run in runs.items():
            gc.collect()
            run()
            passed = seconds_of(run, times)
            if turn >= warmup:
                seconds[name].append(passed)
    return seconds


def seconds_of(run: Callable[[], object], times: int = 1) -> float:
    """Time calls of a run, until their kernels have ended; returns seconds per call."""
    _wait_for_device()
    start = time.perf_counter()
    for _ in range(times):
        run()
    _wait_for_device()
    return (time.perf_counter() - start) / times


def _wait_for_device() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def peak_memory(step: Callable[[], object], device: str) -> float:
    """Measure the MiB that torch allocates at most during a step, beyond those before it.

    On a GPU these are the step's first calls, in which it may be recorded as a graph. On a CPU it
    is the second call: the first makes the optimizer's state, which does not count.
    """
    if device != 'cpu':
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        for _ in range(FIRST_CALLS):
            step()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / MIB
    step()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        step()
    events = (e for e in recorded.profiler.kineto_results.events() if e.name() == '[memory]')
    changes = [e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())]
    return max(accumulate(changes), default=0) / MIB
