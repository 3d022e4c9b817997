"""Which pixels count."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def valid_pixels(
    target: Tensor | None, size: Sequence[int], ignore_index: int | None
) -> Tensor | None:
    """Where labels (N, H, W) are not void, (N, *size), True or False; None where all count."""
    if target is None or ignore_index is None:
        return None
    return resize_labels(target, size) != ignore_index


def resize_labels(target: Tensor, size: Sequence[int]) -> Tensor:
    """Bring labels (N, H, W) to `size` by nearest neighbour; itself where equal."""
    if tuple(target.shape[1:]) == tuple(size):
        return target
    # Ids up to 255 are exact in float32, which every device can interpolate.
    return F.interpolate(target[:, None].float(), tuple(size), mode='nearest-exact')[:, 0]
