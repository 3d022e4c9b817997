"""Cross-entropy at full resolution of logits at a lower one.

Two functions compute the same: `BandedCrossEntropy.apply` for the CPU, which keeps only a band of
rows of the upsampled logits, and `plain_cross_entropy` for a GPU, where that would move more
memory.

Args of both:
    logits: (N, K, H, W).
    target: Labels (N, H', W'), int64.
    ignore_index: Label of pixels that do not count.
    class_weight: (K,), or None for equal weights.
    align_corners: As for `torch.nn.functional.interpolate`.

Both return the sum of the cross-entropy over the pixels that count (float32; of float64 logits
float64), and the number of these pixels whose class is right, without gradient.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from mmseg_kd.models.bilinear import bilinear_matrix

# Elements of a band of upsampled logits, 3 MiB in float32: it stays in the cache.
BAND_ELEMENTS = 3 * 2**18


def plain_cross_entropy(
    logits: Tensor,
    target: Tensor,
    ignore_index: int,
    class_weight: Tensor | None = None,
    align_corners: bool = False,
) -> tuple[Tensor, Tensor]:
    """Upsample all logits and compare them with their labels, without waiting for a GPU.

    It is deterministic where torch is asked to be, which its own negative log-likelihood of maps
    is not.
    """
    dtype = torch.promote_types(logits.dtype, torch.float32)
    weight = None if class_weight is None else class_weight.to(dtype)
    with torch.autocast(logits.device.type, enabled=False):
        logits = logits.to(dtype)
        if logits.shape[2:] != target.shape[1:]:
            logits = F.interpolate(
                logits, target.shape[1:], mode='bilinear', align_corners=align_corners
            )
        valid = target != ignore_index
        if torch.are_deterministic_algorithms_enabled():
            classes = torch.arange(logits.shape[1], device=logits.device)[:, None, None]
            chosen = (target[:, None] == classes) & valid[:, None]
            factor = 1 if weight is None else weight[:, None, None]
            loss = -torch.where(chosen, factor * logits.log_softmax(1), 0)
        else:
            loss = F.cross_entropy(
                logits, target, weight, ignore_index=ignore_index, reduction='none'
            )
        return loss.sum(), ((logits.detach().argmax(1) == target) & valid).sum()


class BandedCrossEntropy(torch.autograd.Function):
    """Upsample band by band, and compute the gradient at the low resolution on the way."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        logits: Tensor,
        target: Tensor,
        ignore_index: int,
        class_weight: Tensor | None,
        align_corners: bool,
    ) -> tuple[Tensor, Tensor]:
        """Return the sum and the number of right pixels."""
        dtype = torch.promote_types(logits.dtype, torch.float32)
        down, across = (
            bilinear_matrix(*lengths, align_corners, dtype, logits.device)
            for lengths in zip(logits.shape[2:], target.shape[1:], strict=True)
        )
        rows = max(BAND_ELEMENTS // (logits.shape[1] * target.shape[2]), 1)
        total, right, gradients = 0, 0, []
        with torch.autocast(logits.device.type, enabled=False):
            for x, labels in zip(logits.to(dtype), target, strict=True):
                wide = x @ across
                gradient = torch.zeros_like(wide)
                for matrix, band in zip(down.t().split(rows), labels.split(rows), strict=True):
                    read = matrix.any(0).nonzero()
                    near = slice(int(read[0]), int(read[-1]) + 1)
                    matrix = matrix[:, near]
                    loss, hits, d = _cross_entropy(
                        matrix @ wide[:, near], band, ignore_index, class_weight
                    )
                    gradient[:, near] += matrix.t() @ d
                    total, right = total + loss, right + hits
                gradients.append(gradient @ across.t())
        ctx.save_for_backward(torch.stack(gradients).to(logits.dtype))
        ctx.mark_non_differentiable(right)
        return total, right

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient of the logits, which is computed already."""
        (gradient,) = ctx.saved_tensors
        return (gradient * grad).to(gradient.dtype), None, None, None, None


def _cross_entropy(
    logits: Tensor, labels: Tensor, ignore_index: int, class_weight: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, right pixels and gradient of logits (K, h, w), which are overwritten."""
    valid = labels != ignore_index
    labels = (labels * valid)[None]
    factor = valid.to(logits.dtype)
    if class_weight is not None:
        factor = factor * class_weight.to(logits.dtype)[labels[0]]
    highest = logits.amax(dim=0, keepdim=True)
    picked = logits.gather(0, labels)
    right = (picked[0] >= highest[0]) & valid
    e = logits.sub_(highest).exp_()
    norm = e.sum(dim=0, keepdim=True)
    loss = (norm.log() + highest - picked)[0] * factor
    # Softmax less the one-hot label, and nothing where no label is.
    e *= factor / norm
    e.scatter_add_(0, labels, -factor[None])
    return loss.sum(), right.sum(), e
