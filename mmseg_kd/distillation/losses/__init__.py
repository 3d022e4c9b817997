"""The distillation losses: of `logits`, of `features` and of the `grid` of pixels."""

# ruff: noqa: F401  (the imports register the losses)

from mmseg_kd.distillation.losses.features.attention_flow import AttentionFlowLoss
from mmseg_kd.distillation.losses.features.attention_transfer import AttentionTransferLoss
from mmseg_kd.distillation.losses.features.fitnet import FitNetLoss
from mmseg_kd.distillation.losses.features.haar_detail import HaarDetailLoss
from mmseg_kd.distillation.losses.features.masked_generative import (
    AffinityContrastLoss,
    MaskedGenerativeLoss,
)
from mmseg_kd.distillation.losses.features.similarity import PairwiseLoss, SimilarityPreservingLoss
from mmseg_kd.distillation.losses.grid.edges import EdgeDirectionLoss, JunctionLoss
from mmseg_kd.distillation.losses.grid.hodge_flow import (
    EdgeFlowLoss,
    HodgeFlowLoss,
    RandomSplitFlowLoss,
)
from mmseg_kd.distillation.losses.grid.sobolev import PermutedSpectrumLoss, SobolevLoss
from mmseg_kd.distillation.losses.logits.boundary_split import BoundarySplitLoss
from mmseg_kd.distillation.losses.logits.channel_wise import (
    ChannelGroupDivergenceLoss,
    ChannelWiseDivergence,
)
from mmseg_kd.distillation.losses.logits.dist import DISTLoss
from mmseg_kd.distillation.losses.logits.kl_divergence import DecoupledKDLoss, KLDivergenceLoss

__all__ = [name for name, value in globals().items() if isinstance(value, type)]
