"""The all-MLP decode head of SegFormer.

SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers,
Xie et al., NeurIPS 2021, https://arxiv.org/abs/2105.15203. Written from the paper;
parameter names are those of the published checkpoints.
"""

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from mmcv.cnn import build_activation_layer, build_norm_layer
from mmengine.model import kaiming_init
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_kd.distillation.cached_tensors import cached
from mmseg_kd.errors import UserError
from mmseg_kd.models.launches import KnowsLaunches


class LevelFusion(KnowsLaunches):
    """Project the levels, upsample them to the finest, and fuse them by a 1x1 convolution.

    The published formula is `fuse(concat_i(up(L_i x_i + b_i)))`. Both maps are linear and
    bilinear upsampling keeps constants, so it equals
    `sum_i up((W_i L_i) x_i) + sum_i W_i b_i` with W_i the kernel's slice for level i. In this form
    the wide convolution at stride 4 does not run, and gradients reach W_i and L_i.
    """

    def __init__(self, head: BaseDecodeHead) -> None:
        super().__init__()
        width, norm_cfg = head.channels, head.norm_cfg
        self.conv = nn.Conv2d(len(head.in_channels) * width, width, 1, bias=norm_cfg is None)
        kaiming_init(self.conv)
        # The published name, also of other normalisations.
        self.bn = build_norm_layer(norm_cfg, width)[1] if norm_cfg else nn.Identity()
        self.activate = build_activation_layer(head.act_cfg)
        if isinstance(self.activate, nn.ReLU):
            # As in mmcv's ConvModule: the norm's backward pass does not need its output.
            self.activate.inplace = True
        self.align_corners = head.align_corners

    def fold(self, levels: Sequence[nn.ModuleDict]) -> tuple[list[Tensor], Tensor]:
        """Fold the fusing kernel into the levels' maps: (embed_dim, C_i) each, and one bias."""
        # The published concatenation runs from the coarsest level to the finest.
        kernel = self.conv.weight.flatten(1)
        parts = kernel.chunk(len(levels), dim=1)[::-1]
        bias = kernel @ torch.cat([level.proj.bias for level in levels[::-1]])
        if self.conv.bias is not None:
            bias = bias + self.conv.bias
        return [part @ level.proj.weight for part, level in zip(parts, levels, strict=True)], bias

    def forward(self, features: Sequence[Tensor], levels: Sequence[nn.ModuleDict]) -> Tensor:
        """Fuse maps (N, C_i, H_i, W_i), finest first, into one (N, embed_dim, H_1, W_1)."""
        return self.activate(self.bn(self.sum_of_levels(features, *self.fold(levels))))

    def sum_of_levels(
        self, features: Sequence[Tensor], kernels: Sequence[Tensor], bias: Tensor
    ) -> Tensor:
        """Compute `sum_i up(kernel_i x_i) + bias`, (N, embed_dim, H_1, W_1)."""
        first, *others = (x.permute(0, 2, 3, 1) for x in features)
        finest = F.linear(first.flatten(0, 2), kernels[0], bias)
        coarse = [F.linear(x, kernel) for x, kernel in zip(others, kernels[1:], strict=True)]
        shape = (*first.shape[:3], -1)
        if self.launches_are_free:
            fused = sum_at_finest([finest.view(shape), *coarse], self.align_corners)
            return fused.permute(0, 3, 1, 2)
        resize = partial(F.interpolate, mode='bilinear', align_corners=self.align_corners)
        for x in coarse:
            # In place, to save a map at the finest stride. Into a view, autograd would copy it.
            x = resize(x.permute(0, 3, 1, 2), shape[1:3])
            finest += x.permute(0, 2, 3, 1).flatten(0, 2)
        return finest.view(shape).permute(0, 3, 1, 2)


@MODELS.register_module()
class SegFormerHead(BaseDecodeHead):
    """SegFormer's head: a linear map per level, upsampling, fusion, dropout, classification.

    As in the paper, it has no BN and ReLU per level. The published SegFormer checkpoints fit;
    those of mmseg's `SegformerHead`, which has them, do not.

    Args:
        in_channels: Channels of the levels, finest first.
        embed_dim: Common width of the levels (256 for B0 and B1, 768 from B2 on).
        in_index: Indices of the backbone's outputs that are the levels.
        **kwargs: `num_classes`, `dropout_ratio`, `norm_cfg`, `act_cfg`, `loss_decode`,
            `align_corners`, `ignore_index` and the other keys of mmseg's `BaseDecodeHead`.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        embed_dim: int = 256,
        in_index: Sequence[int] = (0, 1, 2, 3),
        **kwargs: object,
    ) -> None:
        if embed_dim < 1:
            raise UserError(f'SegFormerHead: embed_dim={embed_dim} is not a width from 1 up')
        levels = dict(in_index=list(in_index), input_transform='multiple_select')
        super().__init__(list(in_channels), embed_dim, **levels, init_cfg=None, **kwargs)
        # The base class' classifier; linear_pred, the published name, replaces it.
        del self.conv_seg
        for i, channels in enumerate(in_channels, start=1):
            # The published names. `LevelFusion` reads the weights instead of calling the layer.
            self.add_module(f'linear_c{i}', nn.ModuleDict({'proj': nn.Linear(channels, embed_dim)}))
        self.linear_fuse = LevelFusion(self)
        self.linear_pred = nn.Conv2d(embed_dim, self.out_channels, 1)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Map the backbone's outputs to logits (N, num_classes, H_1, W_1) at the finest stride."""
        features = self._transform_inputs(inputs)
        levels = [getattr(self, f'linear_c{i}') for i in range(1, len(features) + 1)]
        x = self.linear_fuse(features, levels)
        if self.dropout is not None:
            x = self.dropout(x)
        return self.linear_pred(x)


def sum_at_finest(maps: Sequence[Tensor], align_corners: bool = False) -> Tensor:
    """Upsample channels-last maps to the size of the first, and add them up.

    On a GPU, matrix products do this faster, forward and backward, than torch's interpolation of
    channels-last maps.

    Args:
        maps: (N, h_i, w_i, E), the largest first.
        align_corners: As for `torch.nn.functional.interpolate`.

    Returns:
        The sum (N, h_1, w_1, E).
    """
    finest, *coarse = maps
    height, width = finest.shape[1:3]
    if not coarse:
        return finest
    rows, weights = [], []
    for x in coarse:
        across = bilinear_matrix(x.shape[2], width, align_corners, x.dtype, x.device)
        rows.append((across.t() @ x).flatten(2))
        weights.append(bilinear_matrix(x.shape[1], height, align_corners, x.dtype, x.device))
    down = torch.cat(weights).t().expand(len(finest), -1, -1)
    return torch.baddbmm(finest.flatten(2), down, torch.cat(rows, 1)).view(finest.shape)


@cached(maxsize=256)
def bilinear_matrix(
    source: int, target: int, align_corners: bool, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Return the matrix (source, target) that interpolates `source` values at `target` places."""
    ones = torch.eye(source, dtype=torch.float64)[:, None]
    weights = F.interpolate(ones, target, mode='linear', align_corners=align_corners)[:, 0]
    return weights.to(device, dtype)
