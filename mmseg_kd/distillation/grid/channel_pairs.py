"""The pairs of channels between which flows run."""

from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=32)
@torch.inference_mode(False)
def directions(
    channels: int, flows: int | None, seed: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return the channels between which flows run, as two matrices (P, C).

    Args:
        channels: C.
        flows: P orthonormal pairs of directions, drawn with `seed`; None for every pair of
            channels, P = C (C - 1) / 2. Empty matrices if C is below 2 P.
        seed: Seed of the directions.
        dtype: Of the matrices.
        device: Of the matrices.
    """
    if flows is None:
        a, b = torch.triu_indices(channels, channels, offset=1)
        every = torch.eye(channels)
        pairs = every[a], every[b]
    elif 0 < 2 * flows <= channels:
        pairs = orthonormal(2 * flows, channels, seed).chunk(2)
    else:
        pairs = torch.empty(2, 0, channels)
    return tuple(x.to(device, dtype) for x in pairs)


def orthonormal(rows: int, channels: int, seed: int) -> Tensor:
    """Draw orthonormal rows, (rows, channels)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(channels, rows, generator=generator)).Q.t().contiguous()


def mixed(weights: Tensor, maps: Tensor) -> Tensor:
    """Apply a matrix (P, C) to the channels of maps (N, C, H, W)."""
    return (weights.to(maps.dtype) @ maps.flatten(2)).unflatten(2, maps.shape[2:])
