"""Pooling with gradients that are the same in every run, unlike those of torch on a GPU."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def average_pool(x: Tensor, cells: Sequence[int]) -> Tensor:
    """Average a map (N, C, H, W) over a grid of `cells`, as `adaptive_avg_pool2d` does.

    Example:
        >>> average_pool(torch.arange(4.0).reshape(1, 1, 1, 4), (1, 2)).flatten()
        tensor([0.5000, 2.5000])
    """
    height, width = x.shape[2:]
    if tuple(cells) == (height, width):
        return x
    if height % cells[0] == 0 and width % cells[1] == 0:
        return F.avg_pool2d(x, (height // cells[0], width // cells[1]))
    down, across = (_averages(s, c, x) for s, c in zip((height, width), cells, strict=True))
    return down @ x @ across.t()


def _averages(size: int, cells: int, like: Tensor) -> Tensor:
    """Return the matrix (cells, size) that averages a line of `size` places over cells."""
    first = torch.arange(cells, device=like.device)
    place = torch.arange(size, device=like.device)
    start, end = first * size // cells, ((first + 1) * size + cells - 1) // cells
    inside = (place >= start[:, None]) & (place < end[:, None])
    return inside.to(like.dtype) / (end - start)[:, None]


def max_pool(x: Tensor, patch: Sequence[int]) -> Tensor:
    """Take the maximum of every patch of a map (N, C, H, W); the last ones may be smaller.

    Example:
        >>> max_pool(torch.arange(3.0).reshape(1, 1, 1, 3), (1, 2)).flatten()
        tensor([1., 2.])
    """
    missing = [-size % side for size, side in zip(x.shape[2:], patch, strict=True)]
    if any(missing):
        x = F.pad(x, (0, missing[1], 0, missing[0]), value=-torch.inf)
    return x.unflatten(3, (-1, patch[1])).unflatten(2, (-1, patch[0])).amax(dim=(3, 5))
