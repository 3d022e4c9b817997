"""Functions on maps and labels: resizing, pooling, class masks, void pixels, standardisation.

The gradients of the pooling are the same in every run, unlike those of torch's on a GPU.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

# The smallest standard deviation by which maps are divided. It is above the rounding error of a
# mean, so that constant maps stay constant, and below the deviation of a rare class' probabilities.
SMALLEST_DEVIATION = 1e-6


def resize_map(x: Tensor, size: Sequence[int]) -> Tensor:
    """Resize a map (N, C, H, W) to `size` (bilinear, align_corners=False).

    Example:
        >>> resize_map(torch.ones(1, 3, 4, 4), (8, 8)).shape
        torch.Size([1, 3, 8, 8])
    """
    if tuple(x.shape[2:]) == tuple(size):
        return x
    return F.interpolate(x, tuple(size), mode='bilinear', align_corners=False)


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
    return F.adaptive_avg_pool1d(torch.eye(size, dtype=like.dtype, device=like.device), cells).t()


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


def class_logits(x: Tensor) -> Tensor:
    """Give logits (N, K, H, W) a channel for each class.

    A single channel z, whose sigmoid is the probability of class 1 of two, becomes (0, z): the
    softmax over both is that sigmoid.

    Example:
        >>> class_logits(torch.ones(1, 1, 1, 1)).flatten()
        tensor([0., 1.])
    """
    return F.pad(x, (0, 0, 0, 0, 1, 0)) if x.shape[1] == 1 else x


def class_masks(target: Tensor, classes: int, ignore_index: int | None = None) -> Tensor:
    """Return a mask for each class of labels (N, H, W), as booleans (N, K, H, W).

    Void is not a class.

    Example:
        >>> class_masks(torch.tensor([[[0, 1, 255]]]), 2, ignore_index=255).int()
        tensor([[[[1, 0, 0]],
        <BLANKLINE>
                 [[0, 1, 0]]]], dtype=torch.int32)
    """
    ids = torch.arange(classes, device=target.device)[:, None, None]
    masks = target[:, None] == ids
    return masks if ignore_index is None else masks & (ids != ignore_index)


def valid_pixels(target: Tensor | None, like: Tensor, ignore_index: int | None) -> Tensor:
    """Return which pixels of maps are not void, as booleans (N, H, W).

    Args:
        target: Labels (N, H', W'), resized to the maps; without them all pixels count.
        like: The maps (N, C, H, W).
        ignore_index: Label of void pixels; None keeps every pixel.

    Example:
        >>> valid_pixels(torch.tensor([[[0, 255]]]), torch.zeros(1, 3, 1, 2), ignore_index=255)
        tensor([[[ True, False]]])
    """
    if target is None or ignore_index is None:
        return torch.ones_like(like[:, 0], dtype=torch.bool)
    return resize_labels(target, like.shape[2:]) != ignore_index


def mean_of_valid(x: Tensor, valid: Tensor) -> Tensor:
    """Return the mean of x over the valid pixels, both (N, H, W); 0 where there are none.

    Example:
        >>> mean_of_valid(torch.tensor([[[1.0, 3.0]]]), torch.tensor([[[True, False]]]))
        tensor(1.)
    """
    return (x * valid).sum() / valid.sum().clamp(min=1)


def standardised(
    x: Tensor, valid: Tensor, dim: int | tuple[int, ...], count: Tensor | int
) -> Tensor:
    """Bring maps to mean 0 and standard deviation 1 along axes, over the valid pixels.

    Args:
        x: Maps (..., N, C, H, W).
        valid: 1 at the valid pixels, 0 at the others, (N, 1, H, W). The result is 0 at the others.
        dim: The axes.
        count: Number of valid values along the axes, at least 1.

    Example:
        >>> standardised(torch.tensor([[[[1.0, 3.0]]]]), torch.ones(1, 1, 1, 2), dim=3, count=2)
        tensor([[[[-1.,  1.]]]])
    """
    x = (x - (x * valid).sum(dim=dim, keepdim=True) / count) * valid
    variance = x.square().sum(dim=dim, keepdim=True) / count
    return x * (variance + SMALLEST_DEVIATION**2).rsqrt()


def z_score(x: Tensor, dim: int | tuple[int, ...], eps: float) -> Tensor:
    """Bring maps to mean 0 and standard deviation 1 along axes.

    Args:
        x: Maps.
        dim: The axes.
        eps: Added to the variance, before its root is the divisor.

    Example:
        >>> z_score(torch.tensor([0.0, 2.0]), dim=0, eps=1e-7).round()
        tensor([-1.,  1.])
    """
    centred = x - x.mean(dim=dim, keepdim=True)
    return centred / (centred.square().mean(dim=dim, keepdim=True) + eps).sqrt()
