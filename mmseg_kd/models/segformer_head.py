"""The all-MLP decode head of SegFormer.

SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers,
Xie et al., NeurIPS 2021, https://arxiv.org/abs/2105.15203. Written from the paper;
parameter names are those of the published checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from mmcv.cnn import build_activation_layer, build_norm_layer
from mmengine.model import kaiming_init
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmseg_kd.compat import has_hooks, writes_to
from mmseg_kd.errors import UserError
from mmseg_kd.models.bilinear import sum_at_finest
from mmseg_kd.models.blocked_fusion import fold_norm, fuse_and_classify, infer
from mmseg_kd.models.launches import KnowsLaunches
from mmseg_kd.models.plain_loss import head_losses, is_plain
from mmseg_kd.models.upsampled_cross_entropy import upsampled_cross_entropy, whole_factor


class LevelProjection(nn.Module):
    """The linear map of one level; `LevelFusion` reads its factors rather than calling it."""

    def __init__(self, in_channels: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Linear(in_channels, embed_dim)


class LevelFusion(KnowsLaunches):
    """Project four levels, bring them to the finest grid, concatenate, fuse by a 1x1 convolution.

    The published formula is `fuse(concat_i(up(L_i x_i + b_i)))`. Both maps are linear and
    bilinear upsampling keeps constants, so it equals
    `sum_i up((W_i L_i) x_i) + sum_i W_i b_i` with W_i the kernel's slice for level i: the
    wide convolution at stride 4 never runs, and gradients reach both factors.
    """

    def __init__(
        self,
        num_levels: int,
        embed_dim: int,
        norm_cfg: dict | None,
        act_cfg: dict,
        align_corners: bool,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(num_levels * embed_dim, embed_dim, 1, bias=norm_cfg is None)
        kaiming_init(self.conv)
        # The published name, whichever normalisation it is.
        self.bn = build_norm_layer(norm_cfg, embed_dim)[1] if norm_cfg else nn.Identity()
        self.activate = build_activation_layer(act_cfg)
        self.align_corners = align_corners

    def fold(self, levels: Sequence[LevelProjection]) -> tuple[list[Tensor], Tensor]:
        """Fold the fusing kernel into the levels' maps: (embed_dim, C_i) each, and one bias."""
        # The published concatenation runs from the coarsest level to the finest.
        parts = self.conv.weight.flatten(1).chunk(len(levels), dim=1)[::-1]
        bias = sum(part @ level.proj.bias for part, level in zip(parts, levels, strict=True))
        if self.conv.bias is not None:
            bias = bias + self.conv.bias
        kernels = [part @ level.proj.weight for part, level in zip(parts, levels, strict=True)]
        return kernels, bias

    def forward(self, features: Sequence[Tensor], levels: Sequence[LevelProjection]) -> Tensor:
        """Fuse maps (N, C_i, H_i, W_i), finest first, into one (N, embed_dim, H_1, W_1)."""
        return self.activate(self.bn(self.sum_of_levels(features, *self.fold(levels))))

    def sum_of_levels(
        self, features: Sequence[Tensor], kernels: Sequence[Tensor], bias: Tensor
    ) -> Tensor:
        """Compute `sum_i up(kernel_i x_i) + bias`, (N, embed_dim, H_1, W_1)."""
        maps = [
            F.linear(x.permute(0, 2, 3, 1), kernel, None if i else bias)
            for i, (x, kernel) in enumerate(zip(features, kernels, strict=True))
        ]
        if self.launches_are_free:
            return sum_at_finest(maps, self.align_corners).permute(0, 3, 1, 2)
        fused, *coarse = (x.permute(0, 3, 1, 2) for x in maps)
        for x in coarse:
            fused = fused + F.interpolate(
                x, fused.shape[2:], mode='bilinear', align_corners=self.align_corners
            )
        return fused


@MODELS.register_module()
class SegFormerHead(BaseDecodeHead):
    """SegFormer's head: a linear map a level, upsampling, fusion, dropout, classification.

    Unlike mmseg's `SegformerHead` it has no BN and ReLU per level, as in the paper, so the
    published SegFormer checkpoints fit and mmseg's do not.

    Args:
        in_channels: Channels of the levels, finest first.
        embed_dim: Common width of the levels (256 for B0 and B1, 768 from B2 on).
        in_index: Which backbone outputs are the levels.
        blocked: On the CPU, fuse and classify a block of channels at a time (`blocked_fusion`):
            the same function in less time and memory. It needs `norm_cfg` BN and ReLU.
        fused_loss: Compute a plain cross-entropy and the accuracy together with the upsampling
            (`upsampled_cross_entropy`): the same values in less time and memory.
        **kwargs: `num_classes`, `dropout_ratio`, `norm_cfg`, `act_cfg`, `loss_decode`,
            `align_corners`, `ignore_index` and the other keys of mmseg's `BaseDecodeHead`.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        embed_dim: int = 256,
        in_index: Sequence[int] = (0, 1, 2, 3),
        blocked: bool = True,
        fused_loss: bool = True,
        **kwargs: object,
    ) -> None:
        if embed_dim < 1:
            raise UserError(f'SegFormerHead: embed_dim={embed_dim} is not a width from 1 up')
        super().__init__(
            in_channels=list(in_channels),
            channels=embed_dim,
            in_index=list(in_index),
            input_transform='multiple_select',
            init_cfg=None,
            **kwargs,
        )
        self.blocked = blocked
        self.fused_loss = fused_loss
        self._fold_of: tuple[list, tuple[list[Tensor], Tensor]] | None = None
        # The base class' classifier; the published name of it is linear_pred.
        del self.conv_seg
        for i, channels in enumerate(in_channels, start=1):
            self.add_module(f'linear_c{i}', LevelProjection(channels, embed_dim))
        self.linear_fuse = LevelFusion(
            len(in_channels), embed_dim, self.norm_cfg, self.act_cfg, self.align_corners
        )
        self.linear_pred = nn.Conv2d(embed_dim, self.out_channels, 1)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Map the backbone's outputs to logits (N, num_classes, H_1, W_1), at the finest stride."""
        features = self._transform_inputs(inputs)
        levels = [getattr(self, f'linear_c{i}') for i in range(1, len(features) + 1)]
        fuse = self.linear_fuse
        if self.blocked and self._can_fold():
            in_blocks = features[0].device.type == 'cpu' and not self.align_corners
            if not self.training and in_blocks:
                return infer(features, *self._folded(levels), self.linear_pred)
            if not self.training:
                x = fuse.sum_of_levels(features, *self._folded(levels))
                return self.linear_pred(fuse.activate(x))
            if in_blocks:
                return fuse_and_classify(
                    features, *fuse.fold(levels), fuse.bn, self.dropout, self.linear_pred
                )
        x = fuse(features, levels)
        if self.dropout is not None:
            x = self.dropout(x)
        return self.linear_pred(x)

    def loss_by_feat(
        self, seg_logits: Tensor, batch_data_samples: list[SegDataSample]
    ) -> dict[str, Tensor]:
        """Compute `loss_ce` and `acc_seg` of logits (N, K, H, W), at the labels' resolution."""
        if not self.fused_loss:
            return super().loss_by_feat(seg_logits, batch_data_samples)
        losses = None
        if seg_logits.device.type != 'cpu':
            losses = head_losses(self, seg_logits, batch_data_samples)
        elif is_plain(self.loss_decode):
            losses = self._losses_in_bands(seg_logits, batch_data_samples)
        return losses or super().loss_by_feat(seg_logits, batch_data_samples)

    def _losses_in_bands(
        self, seg_logits: Tensor, batch_data_samples: list[SegDataSample]
    ) -> dict[str, Tensor] | None:
        loss = self.loss_decode
        target = self._stack_batch_gt(batch_data_samples).squeeze(1)
        plain = (
            not loss.class_weight
            and self.sampler is None
            and not self.align_corners
            and self.out_channels > 1
        )
        if not (plain and whole_factor(seg_logits, target)):
            return None
        total, (valid, right) = upsampled_cross_entropy(seg_logits, target, self.ignore_index)
        pixels = valid.clamp(min=1)
        mean = total / (pixels if loss.avg_non_ignore else target.numel())
        return {loss.loss_name: loss.loss_weight * mean, 'acc_seg': 100 * right / pixels}

    def train(self, mode: bool = True) -> SegFormerHead:
        """Switch between training and inference; what was folded for inference is forgotten.

        An averaging hook writes to `.data`, of which tensors keep no count, and calls `eval` after.
        """
        self._fold_of = None
        return super().train(mode)

    def _folded(self, levels: Sequence[LevelProjection]) -> tuple[list[Tensor], Tensor]:
        """Kernels and bias with the norm folded in; computed again when a tensor has changed.

        A write to `.data` shows after the next `eval()`.
        """
        fuse = self.linear_fuse
        tensors = [*fuse.parameters(), *fuse.buffers()]
        tensors += [p for level in levels for p in level.parameters()]
        device = fuse.conv.weight.device.type
        # Tensors without data, on which operations are counted, have no autocast.
        with nullcontext() if device == 'meta' else torch.autocast(device, enabled=False):
            capturing = fuse.conv.weight.is_cuda and torch.cuda.is_current_stream_capturing()
            if capturing or any(x.is_inference() for x in tensors):
                # A graph would keep today's kernels; tensors of inference mode count no changes.
                return fold_norm(*fuse.fold(levels), fuse.bn)
            state = [(x.data_ptr(), x.dtype, writes_to(x)) for x in tensors]
            if self._fold_of is None or self._fold_of[0] != state:
                self._fold_of = state, fold_norm(*fuse.fold(levels), fuse.bn)
            return self._fold_of[1]

    def _can_fold(self) -> bool:
        """Whether the norm, and on a CPU all that treats channels alone, can be done in one."""
        fuse = self.linear_fuse
        return (
            type(fuse.bn) is nn.BatchNorm2d
            and fuse.bn.affine
            and fuse.bn.track_running_stats
            and fuse.bn.momentum is not None
            and type(fuse.activate) is nn.ReLU
            and fuse.bn.training == self.training
            and self.training == torch.is_grad_enabled()
            # Whoever listens to a part of the head wants that part to run.
            and not has_hooks(self)
            # A trace would keep this batch's size and these weights.
            and not (torch.compiler.is_compiling() or torch.jit.is_tracing())
        )
