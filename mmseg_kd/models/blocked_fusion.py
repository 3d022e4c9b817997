"""Fusion and classification of SegFormer's head, a block of channels at a time.

Between the levels' linear maps and the classifier every step (bilinear upsampling, sum,
batch normalisation, activation, channel dropout) treats a channel by itself. So a block of
channels can go all the way while it lies in the cache, forward and backward. On a CPU the wide
maps at stride 4 (256 to 768 channels) take most of the head's time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# 8 MiB in float32: the best of 2 to 16 on a server's CPU, where the curve is flat.
BLOCK_ELEMENTS = 2**21
FEWEST_CHANNELS, MOST_CHANNELS = 16, 64


def fuse_and_classify(
    sum_of_levels: Callable[[Sequence[Tensor], Tensor], Tensor],
    kernels: Sequence[Tensor],
    bias: Tensor,
    norm: nn.BatchNorm2d,
    activate: nn.Module,
    dropout: nn.Dropout2d | None,
    classifier: nn.Conv2d,
    shape: torch.Size,
) -> Tensor:
    """Compute `classifier(dropout(activate(norm(sum_of_levels(kernels, bias)))))` by blocks.

    Args:
        sum_of_levels: Computes `sum_i up(kernel_i x_i) + bias`, a map (N, c, H, W) in
            channels-last memory, from c rows of the kernels and of the bias.
        kernels: Linear maps of the levels (E, C_i).
        bias: (E,).
        norm: Batch normalisation of the E channels; its running statistics are updated.
        activate: Activation of single elements.
        dropout: Dropout of whole channels, if any.
        classifier: 1x1 convolution from E channels to K classes.
        shape: (N, C_1, H, W) of the finest level.

    Returns:
        Logits (N, K, H, W).
    """
    images, _, *size = shape
    weights = classifier.weight.flatten(1).expand(images, -1, -1)
    if dropout is not None:
        weights = weights * dropout(weights.new_ones(images, len(bias), 1, 1)).view(images, 1, -1)
    if norm.training:
        norm.num_batches_tracked.add_(1)
    width = BLOCK_ELEMENTS // (images * size[0] * size[1])
    width = min(max(width, FEWEST_CHANNELS), MOST_CHANNELS)
    statistics = norm.running_mean, norm.running_var, norm.weight, norm.bias
    logits = classifier.bias
    for start in range(0, len(bias), width):
        block = slice(start, start + width)
        x = sum_of_levels([kernel[block] for kernel in kernels], bias[block])
        x = F.batch_norm(
            x, *(each[block] for each in statistics), norm.training, norm.momentum, norm.eps
        )
        x = activate(x).permute(0, 2, 3, 1).flatten(1, 2)
        # Dropout differs by image. A contiguous weight has a faster backward pass.
        pairs = zip(x, weights[..., block].contiguous(), strict=True)
        logits = logits + torch.stack([F.linear(pixels, weight) for pixels, weight in pairs])
    return logits.transpose(1, 2).unflatten(2, size)
