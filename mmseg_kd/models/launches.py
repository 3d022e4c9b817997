"""A switch between two ways to compute: few kernel launches, or little time on the GPU.

A small model that runs step by step spends its time launching kernels: the fewest launches win. In
a CUDA graph launches cost almost nothing: the fastest kernels win. Both ways give the same numbers
except for rounding.
"""

from __future__ import annotations

from torch import nn


class KnowsLaunches(nn.Module):
    """A module that computes in another way where launches cost nothing, as in a CUDA graph."""

    launches_are_free = False


def let_launches_be_free(model: nn.Module) -> None:
    """Make the modules of a model choose kernels by their time alone."""
    for module in model.modules():
        if isinstance(module, KnowsLaunches):
            module.launches_are_free = True
