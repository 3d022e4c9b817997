"""The stock counterpart of a config: the same network, built from mmseg's own parts.

MiT becomes mmseg's `MixVisionTransformer`. `SegFormerHead` becomes mmseg's `SegformerHead` at
embed_dim 256, and at other widths, for which mmseg ships no config, the formula of the paper
written out: project, upsample to stride 4, concatenate, fuse, classify.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmseg.models import EncoderDecoder
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_kd.models.mit import VARIANTS

MMSEG_EMBED_DIM = 256


class PublishedHead(BaseDecodeHead):
    """SegFormer's head as published: a linear map a level, concatenation at stride 4, fusion."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(input_transform='multiple_select', **kwargs)
        self.levels = nn.ModuleList(nn.Linear(c, self.channels) for c in self.in_channels)
        width = self.channels * len(self.in_channels)
        self.fuse = nn.Sequential(
            nn.Conv2d(width, self.channels, 1, bias=False),
            nn.BatchNorm2d(self.channels),
            nn.ReLU(),
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Map four levels (N, C_i, H_i, W_i), finest first, to logits at the finest stride."""
        size = inputs[0].shape[2:]
        maps = []
        for x, level in zip(inputs, self.levels, strict=True):
            x = level(x.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, x.shape[2:])
            maps.append(F.interpolate(x, size, mode='bilinear', align_corners=False))
        return self.cls_seg(self.fuse(torch.cat(maps[::-1], dim=1)))


def stock_model(model_cfg: ConfigDict) -> EncoderDecoder:
    """Build the stock counterpart of a SegFormer config, with random weights.

    Args:
        model_cfg: The `model` of a config with a MiT backbone and a `SegFormerHead`.

    Raises:
        ValueError: The backbone or the head has no stock counterpart here.
    """
    cfg = ConfigDict(copy.deepcopy(dict(model_cfg)))
    backbone, head = cfg.backbone, cfg.decode_head
    if backbone.type not in VARIANTS or head.type != 'SegFormerHead':
        raise ValueError(f'no stock counterpart of {backbone.type} with {head.type}')
    for key in ('teacher', 'kd_losses', 'pretrained'):
        cfg.pop(key, None)
    cfg.type = 'EncoderDecoder'
    widths, depths = VARIANTS[backbone.type]
    heads = (1, 2, 5, 8)
    cfg.backbone = dict(
        type='MixVisionTransformer',
        embed_dims=widths[0] // heads[0],
        num_layers=list(depths),
        num_heads=list(heads),
        patch_sizes=[7, 3, 3, 3],
        sr_ratios=[8, 4, 2, 1],
        drop_path_rate=backbone.get('drop_path_rate', 0.1),
    )
    head.channels = head.pop('embed_dim', MMSEG_EMBED_DIM)
    head.type = 'SegformerHead' if head.channels == MMSEG_EMBED_DIM else PublishedHead
    return MODELS.build(cfg)
