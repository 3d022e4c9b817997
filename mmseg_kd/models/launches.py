"""Which of two ways to compute: few launches, or little time on the GPU.

Run step by step, a small model spends its time launching kernels, so the best way is the one with
the fewest. In a CUDA graph launches cost next to nothing, and the best way is the one whose kernels
finish first. Both give the same numbers but for rounding.
"""

from __future__ import annotations

from torch import nn


class KnowsLaunches(nn.Module):
    """A module with a way of its own for when launches cost nothing, as in a CUDA graph."""

    launches_are_free = False


def let_launches_be_free(model: nn.Module) -> None:
    """Let the modules of a model choose kernels by their time alone."""
    for module in model.modules():
        if isinstance(module, KnowsLaunches):
            module.launches_are_free = True
