"""Labels that are void in one half, and the places of a map under them."""

import torch
from torch import Tensor


def void_half() -> tuple[Tensor, Tensor]:
    """Return labels (2, 32, 32), void in the left half, and where a map (8, 8) is void."""
    target = torch.zeros(2, 32, 32, dtype=torch.long)
    target[:, :, :16] = 255
    void = torch.zeros(8, 8, dtype=torch.bool)
    void[:, :4] = True
    return target, void
