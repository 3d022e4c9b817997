"""Cross-entropy at full resolution of logits at a lower one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from mmseg_kd.models.bilinear import bilinear_matrix

# Elements of a band of upsampled logits, 3 MiB in float32: it stays in the cache.
BAND_ELEMENTS = 3 * 2**18


def upsampled_cross_entropy(
    logits: Tensor, target: Tensor, ignore_index: int
) -> tuple[Tensor, Tensor]:
    """Upsample logits by a whole factor r to their labels' size and compare them there.

    For the CPU: only a band of rows of the upsampled logits exists at a time, and the gradient at
    the low resolution is computed on the way. On a GPU `plain_cross_entropy` is as fast.

    Args:
        logits: (N, K, H, W).
        target: Labels (N, r H, r W), int64. Upsampling is bilinear, align_corners=False.
        ignore_index: Label of pixels that do not count.

    Returns:
        The sum of the cross-entropy over the pixels that count (float32; of float64 logits
        float64), and a vector of two counts without gradient: pixels that count, and those of
        them that are right.
    """
    return _UpsampledCrossEntropy.apply(logits, target, ignore_index)


def plain_cross_entropy(
    logits: Tensor,
    target: Tensor,
    ignore_index: int,
    class_weight: Tensor | None = None,
    align_corners: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Upsample logits to their labels' size and compare them there, without waiting for a GPU.

    On a GPU this moves less memory than `upsampled_cross_entropy`. It is deterministic where
    torch is asked to be, which its own negative log-likelihood of maps is not.

    Args:
        logits: (N, K, H, W).
        target: Labels (N, H', W'), int64.
        ignore_index: Label of pixels that do not count.
        class_weight: (K,), or None for equal weights.
        align_corners: As for `torch.nn.functional.interpolate`.

    Returns:
        The cross-entropy of each pixel (N, H', W'), 0 where it does not count; where pixels count,
        of the same shape; and how many of them are right.
    """
    dtype = torch.promote_types(logits.dtype, torch.float32)
    with torch.autocast(logits.device.type, enabled=False):
        logits = logits.to(dtype)
        if logits.shape[2:] != target.shape[1:]:
            logits = F.interpolate(
                logits, target.shape[1:], mode='bilinear', align_corners=align_corners
            )
        valid = target != ignore_index
        if torch.are_deterministic_algorithms_enabled():
            classes = torch.arange(logits.shape[1], device=logits.device)[None, :, None, None]
            chosen = target[:, None] == classes
            loss = -torch.where(chosen, logits.log_softmax(1), 0).sum(1) * valid
            if class_weight is not None:
                loss = loss * torch.where(chosen, class_weight.to(dtype)[:, None, None], 0).sum(1)
        else:
            weight = None if class_weight is None else class_weight.to(dtype)
            loss = F.cross_entropy(
                logits, target, weight, ignore_index=ignore_index, reduction='none'
            )
        right = ((logits.detach().argmax(1) == target) & valid).sum()
    return loss, valid, right


def whole_factor(logits: Tensor, target: Tensor) -> int | None:
    """The factor r between logits (N, K, H, W) and labels (N, r H, r W), None if there is none."""
    height, width = logits.shape[2:]
    factor = target.shape[1] // height
    return factor if target.shape[1:] == (factor * height, factor * width) else None


class _UpsampledCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx, logits: Tensor, target: Tensor, ignore_index: int
    ) -> tuple[Tensor, Tensor]:
        _, classes, height, width = logits.shape
        factor = whole_factor(logits, target)
        dtype = torch.promote_types(logits.dtype, torch.float32)
        rows = max(BAND_ELEMENTS // (classes * factor**2 * width), 1)
        total, counts, gradients = 0, 0, []
        with torch.autocast(logits.device.type, enabled=False):
            across = bilinear_matrix(width, factor * width).to(logits.device, dtype)
            for x, labels in zip(logits.split(1), target.split(1), strict=True):
                # Row i between i - 1 and i + 1 needs a neighbour on both sides.
                wide = x.to(dtype).contiguous() @ across
                wide = F.pad(wide, (0, 0, 1, 1), mode='replicate')
                grad = torch.zeros_like(wide)
                for start in range(0, height, rows):
                    band = slice(start, min(start + rows, height) + 2)
                    loss, counted = _band(
                        wide[:, :, band],
                        grad[:, :, band],
                        labels[:, factor * start : factor * (band.stop - 2)],
                        ignore_index,
                    )
                    total, counts = total + loss, counts + counted
                grad[:, :, 1] += grad[:, :, 0]
                grad[:, :, -2] += grad[:, :, -1]
                gradients.append(grad[:, :, 1:-1] @ across.t())
        ctx.save_for_backward(torch.cat(gradients))
        ctx.dtype = logits.dtype
        ctx.mark_non_differentiable(counts)
        return total, counts

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        (kept,) = ctx.saved_tensors
        return (kept * grad).to(ctx.dtype), None, None


def _band(wide: Tensor, grad: Tensor, labels: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Loss and counts of a band; its gradient is added to `grad`.

    `wide` and `grad` are (N, K, b + 2, r W), with a neighbouring row above and below; `labels`
    (N, r b, r W).
    """
    n, classes, rows, width = wide.shape
    rows -= 2
    factor = labels.shape[1] // rows
    z = wide.new_empty(n, classes, rows, factor, width)
    pairs = [_neighbours(phase, factor) for phase in range(factor)]
    for phase, (first, share) in enumerate(pairs):
        above, below = wide[:, :, first : first + rows], wide[:, :, first + 1 : first + 1 + rows]
        torch.lerp(above, below, share, out=z[:, :, :, phase])
    z = z.flatten(2, 3)
    valid = (labels != ignore_index)[:, None]
    labels = labels[:, None] * valid
    highest = z.amax(dim=1, keepdim=True)
    picked = z.gather(1, labels)
    right = (picked >= highest) & valid
    e = z.sub_(highest).exp_()
    norm = e.sum(dim=1, keepdim=True)
    loss = ((norm.log() + highest - picked) * valid).sum()
    # Softmax less the one-hot label, and nothing where no label is.
    e *= valid / norm
    e.scatter_add_(1, labels, -valid.to(e))
    for phase, (first, share) in enumerate(pairs):
        d = e.unflatten(2, (rows, factor))[:, :, :, phase]
        grad[:, :, first : first + rows].add_(d, alpha=1 - share)
        grad[:, :, first + 1 : first + 1 + rows].add_(d, alpha=share)
    return loss, torch.stack([valid.sum(), right.sum()])


def _neighbours(phase: int, factor: int) -> tuple[int, float]:
    """Return (first, share): row r i + phase lies between row i - 1 + first and the next one."""
    position = (phase + 0.5) / factor - 0.5
    return (0, position + 1) if position < 0 else (1, position)
