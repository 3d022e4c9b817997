"""The cross-entropy of a decode head: in little memory on a CPU, without a wait on a GPU.

mmseg's cross-entropy reads the number of labelled pixels in every step, and its accuracy picks
them out: both wait for the device, and neither can be recorded in a CUDA graph.
"""

from __future__ import annotations

from functools import lru_cache, partial

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.losses import CrossEntropyLoss
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmseg_kd.compat import stacked_labels
from mmseg_kd.models.upsampled_cross_entropy import BandedCrossEntropy, plain_cross_entropy


def without_waiting(segmentor: nn.Module) -> None:
    """Let the heads of a segmentor that use mmseg's own losses compute them without a wait."""
    for head in segmentor.modules():
        if isinstance(head, BaseDecodeHead) and (
            type(head).loss_by_feat is BaseDecodeHead.loss_by_feat
        ):
            head.loss_by_feat = partial(_loss_by_feat, head)


def _loss_by_feat(
    head: BaseDecodeHead, seg_logits: Tensor, batch_data_samples: list[SegDataSample]
) -> dict[str, Tensor]:
    on_cpu = seg_logits.device.type == 'cpu'
    losses = None if on_cpu else head_losses(head, seg_logits, batch_data_samples)
    return losses or type(head).loss_by_feat(head, seg_logits, batch_data_samples)


def head_losses(
    head: BaseDecodeHead, seg_logits: Tensor, batch_data_samples: list[SegDataSample]
) -> dict[str, Tensor] | None:
    """Compute what `BaseDecodeHead.loss_by_feat` does, on any device.

    Args:
        head: The head, for its losses.
        seg_logits: Logits (N, K, h, w).
        batch_data_samples: The N labels (1, H, W).

    Returns:
        The cross-entropies by name and `acc_seg`; None where a loss is another one.
    """
    losses = head.loss_decode if isinstance(head.loss_decode, nn.ModuleList) else [head.loss_decode]
    if not (all(map(_is_plain, losses)) and head.sampler is None and head.out_channels > 1):
        return None
    on_cpu = seg_logits.device.type == 'cpu'
    cross_entropy = BandedCrossEntropy.apply if on_cpu else plain_cross_entropy
    target = stacked_labels(head, batch_data_samples).squeeze(1)
    valid = target != head.ignore_index
    pixels = valid.sum().clamp(min=1)
    result: dict[str, Tensor] = {}
    for loss in losses:
        weights, count = None, pixels if loss.avg_non_ignore else target.numel()
        if loss.class_weight is not None:
            weights = _weights_on(seg_logits.device, tuple(loss.class_weight))
            count = (weights[target.clamp(max=len(weights) - 1)] * valid).sum()
            count = count.clamp(min=torch.finfo(count.dtype).tiny)
        total, right = cross_entropy(
            seg_logits, target, head.ignore_index, weights, head.align_corners
        )
        mean = loss.loss_weight * total / count
        result[loss.loss_name] = result.get(loss.loss_name, 0) + mean
        result['acc_seg'] = 100 * right / pixels
    return result


def _is_plain(loss: nn.Module) -> bool:
    """Whether a loss is the cross-entropy over classes, averaged over the pixels."""
    return (
        type(loss) is CrossEntropyLoss
        and not (loss.use_sigmoid or loss.use_mask)
        and loss.reduction == 'mean'
    )


@lru_cache(maxsize=16)
def _weights_on(device: torch.device, weights: tuple[float, ...]) -> Tensor:
    # Copied once: a copy in every step would wait.
    return torch.tensor(weights, device=device)
