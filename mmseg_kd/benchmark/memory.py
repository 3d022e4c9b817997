"""Peak memory of a step, as torch's allocator counts it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

import torch
from torch.profiler import ProfilerActivity, profile

MIB = 2**20


def peak_memory(step: Callable[[], object], device: str) -> float:
    """MiB allocated at most while `step` runs, beyond what was allocated before it.

    The step is run twice; the first time makes the optimizer's state, which does not count.
    """
    step()
    if device != 'cpu':
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / MIB
    # Gradients of the step before are gone by then in both candidates, or kept in both.
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        step()
    events = (e for e in recorded.profiler.kineto_results.events() if e.name() == '[memory]')
    changes = [e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())]
    return max(accumulate(changes), default=0) / MIB
