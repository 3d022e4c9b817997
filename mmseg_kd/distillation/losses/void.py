"""Labels and values of the pixels that are not void."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def valid_pixels(
    target: Tensor | None, size: Sequence[int], ignore_index: int | None
) -> Tensor | None:
    """Return where labels (N, H, W) are not void, as booleans (N, *size); None where all count.

    Example:
        >>> valid_pixels(torch.tensor([[[0, 255]]]), (1, 2), ignore_index=255)
        tensor([[[ True, False]]])
    """
    if target is None or ignore_index is None:
        return None
    return resize_labels(target, size) != ignore_index


def valid_mask(
    target: Tensor | None, size: Sequence[int], ignore_index: int | None, like: Tensor
) -> Tensor:
    """Return `valid_pixels`, and True everywhere where all count.

    Args:
        target: Labels (N, H, W) or None.
        size: Height and width of the mask.
        ignore_index: Label of void pixels, or None.
        like: A tensor of N maps on the device.

    Example:
        >>> valid_mask(None, (1, 2), 255, torch.zeros(1, 3, 1, 2))
        tensor([[[True, True]]])
    """
    valid = valid_pixels(target, size, ignore_index)
    return like.new_ones(len(like), *size).bool() if valid is None else valid


def resize_labels(target: Tensor, size: Sequence[int]) -> Tensor:
    """Resize labels (N, H, W) to `size` by nearest neighbour.

    Example:
        >>> resize_labels(torch.tensor([[[0, 1]]]), (1, 4)).long()
        tensor([[[0, 0, 1, 1]]])
    """
    if tuple(target.shape[1:]) == tuple(size):
        return target
    # Ids up to 255 are exact in float32, which every device can interpolate.
    return F.interpolate(target[:, None].float(), tuple(size), mode='nearest-exact')[:, 0]


def class_masks(target: Tensor, classes: int, ignore_index: int | None) -> Tensor:
    """Return where labels (N, H, W) are each class, as booleans (N, K, H, W); void is not a class.

    Example:
        >>> class_masks(torch.tensor([[[0, 1, 255]]]), 2, ignore_index=255).int()
        tensor([[[[1, 0, 0]],
        <BLANKLINE>
                 [[0, 1, 0]]]], dtype=torch.int32)
    """
    ids = torch.arange(classes, device=target.device)[:, None, None]
    masks = target[:, None] == ids
    return masks if ignore_index is None else masks & (ids != ignore_index)


def mean_of_valid(x: Tensor, valid: Tensor | None) -> Tensor:
    """Return the mean of x (N, H, W) over the valid pixels; 0 where there are none.

    Args:
        x: A value for each pixel.
        valid: The result of `valid_pixels`.

    Example:
        >>> mean_of_valid(torch.tensor([[[1.0, 3.0]]]), torch.tensor([[[True, False]]]))
        tensor(1.)
    """
    return x.mean() if valid is None else (x * valid).sum() / valid.sum().clamp(min=1)
