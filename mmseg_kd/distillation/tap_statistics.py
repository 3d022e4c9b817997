"""How much a tap can tell an attention loss."""

from __future__ import annotations

from torch import Tensor

from mmseg_kd.distillation.losses.attention_transfer import attention_map


def attention_contrast(x: Tensor, p: float = 2) -> Tensor:
    """Coefficient of variation of the attention map, over the places of each image.

    The map is sum_c |F_c|^p (Zagoruyko and Komodakis, ICLR 2017). 0 is a flat map, the same
    for every image, which no student can learn anything from; a map that is one spot on a
    dark ground has the square root of its number of places.

    Args:
        x: Maps (N, C, H, W).
        p: Exponent.

    Returns:
        Standard deviation over mean, (N,).
    """
    attention = attention_map(x.float(), p).flatten(1)
    return attention.std(dim=1, correction=0) / attention.mean(dim=1)
