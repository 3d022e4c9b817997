"""Cross-entropy of logits at a lower resolution than the labels, and the losses of a head by it.

mmseg's cross-entropy reads the number of labelled pixels in every step, and its accuracy selects
these pixels. On a GPU both wait for the device, and neither can be recorded in a CUDA graph.
"""

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.losses import CrossEntropyLoss
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmseg_kd.distillation.cached_tensors import cached


def plain_cross_entropy(
    logits: Tensor, target: Tensor, ignore_index: int, weight: Tensor | None, align_corners: bool
) -> tuple[Tensor, Tensor]:
    """Upsample logits and compare them with their labels, without waiting for a GPU.

    With deterministic algorithms it replaces torch's negative log-likelihood of maps, which has no
    deterministic form on a GPU.

    Args:
        logits: (N, K, H, W).
        target: Labels (N, H', W'), int64.
        ignore_index: Label of pixels that do not count.
        weight: (K,), or None for equal weights.
        align_corners: As for `torch.nn.functional.interpolate`.

    Returns:
        The sum of the cross-entropy over the pixels that count, in float32 or, for float64 logits,
        float64; and the number of these pixels that are classified correctly, without gradient.
    """
    dtype = torch.promote_types(logits.dtype, torch.float32)
    weight = None if weight is None else weight.to(dtype)
    with torch.autocast(logits.device.type, enabled=False):
        logits, size = logits.to(dtype), target.shape[1:]
        if logits.shape[2:] != size:
            logits = F.interpolate(logits, size, mode='bilinear', align_corners=align_corners)
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


def without_waiting(segmentor: nn.Module) -> None:
    """Replace the losses of heads that use mmseg's cross-entropy by ones that do not wait."""
    for head in segmentor.modules():
        if isinstance(head, BaseDecodeHead) and _has_plain_losses(head):
            head.loss_by_feat = partial(head_losses, head)


def head_losses(
    head: BaseDecodeHead, seg_logits: Tensor, batch_data_samples: list[SegDataSample]
) -> dict[str, Tensor]:
    """Compute the losses of `BaseDecodeHead.loss_by_feat` without waiting for the device.

    Args:
        head: The head, all of whose losses are cross-entropies over classes.
        seg_logits: Logits (N, K, h, w).
        batch_data_samples: The N labels (1, H, W).

    Returns:
        The cross-entropies by name and `acc_seg`.
    """
    target = torch.cat([sample.gt_sem_seg.data for sample in batch_data_samples])
    valid = target != head.ignore_index
    pixels = valid.sum().clamp(min=1)
    result: dict[str, Tensor] = {}
    for loss in _losses(head):
        weights, count = None, pixels if loss.avg_non_ignore else target.numel()
        if loss.class_weight is not None:
            weights = _weights_on(seg_logits.device, tuple(loss.class_weight))
            count = (weights[target.clamp(max=len(weights) - 1)] * valid).sum()
            count = count.clamp(min=torch.finfo(count.dtype).tiny)
        total, right = plain_cross_entropy(
            seg_logits, target, head.ignore_index, weights, head.align_corners
        )
        result[loss.loss_name] = result.get(loss.loss_name, 0) + loss.loss_weight * total / count
        result['acc_seg'] = 100 * right / pixels
    return result


def _losses(head: BaseDecodeHead) -> Sequence[nn.Module]:
    return head.loss_decode if isinstance(head.loss_decode, nn.ModuleList) else [head.loss_decode]


def _has_plain_losses(head: BaseDecodeHead) -> bool:
    """Return whether a head's losses are all cross-entropies over classes, averaged over pixels."""
    if type(head).loss_by_feat is not BaseDecodeHead.loss_by_feat or head.sampler is not None:
        return False
    return head.out_channels > 1 and all(
        type(loss) is CrossEntropyLoss
        and not (loss.use_sigmoid or loss.use_mask)
        and loss.reduction == 'mean'
        for loss in _losses(head)
    )


@cached(maxsize=16)
def _weights_on(device: torch.device, weights: tuple[float, ...]) -> Tensor:
    # Cached, because a copy to the device in every step would wait.
    return torch.tensor(weights, device=device)
