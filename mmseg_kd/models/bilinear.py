"""Bilinear interpolation as products of matrices."""

from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor


@lru_cache(maxsize=256)
def bilinear_matrix(
    source: int,
    target: int,
    align_corners: bool = False,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = 'cpu',
) -> Tensor:
    """Interpolation of `source` values at `target` places, as a matrix (source, target)."""
    # What is made in inference mode could not be used in training later.
    with torch.inference_mode(False):
        ones = torch.eye(source, dtype=torch.float64)[:, None]
        weights = F.interpolate(ones, target, mode='linear', align_corners=align_corners)[:, 0]
        return weights.to(device, dtype)


def sum_at_finest(maps: Sequence[Tensor], align_corners: bool = False) -> Tensor:
    """Bring channels-last maps to the size of the first and add them up.

    torch's interpolation of channels-last maps leaves a GPU's memory waiting; products of
    matrices do not, forward and backward.

    Args:
        maps: (N, h_i, w_i, E), the largest first.
        align_corners: As for `torch.nn.functional.interpolate`.

    Returns:
        The sum (N, h_1, w_1, E).
    """
    finest, *coarse = maps
    height, width = finest.shape[1:3]
    if not coarse:
        return finest
    rows, weights = [], []
    for x in coarse:
        across = bilinear_matrix(x.shape[2], width, align_corners, x.dtype, x.device)
        rows.append((across.t() @ x).flatten(2))
        weights.append(bilinear_matrix(x.shape[1], height, align_corners, x.dtype, x.device))
    down = torch.cat(weights).t().expand(len(finest), -1, -1)
    return torch.baddbmm(finest.flatten(2), down, torch.cat(rows, 1)).view(finest.shape)
