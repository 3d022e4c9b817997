"""The distillation losses: of `logits`, of `features` and of the `grid` of pixels."""

# ruff: noqa: F401  (the imports register the losses)

from .features.attention_flow import AttentionFlowLoss
from .features.attention_transfer import AttentionTransferLoss
from .features.fitnet import FitNetLoss
from .features.haar_detail import HaarDetailLoss
from .features.masked_generative import AffinityContrastLoss, MaskedGenerativeLoss
from .features.similarity import PairwiseLoss, SimilarityPreservingLoss
from .grid.edges import EdgeDirectionLoss, JunctionLoss
from .grid.hodge_flow import EdgeFlowLoss, HodgeFlowLoss, RandomSplitFlowLoss
from .grid.sobolev import PermutedSpectrumLoss, SobolevLoss
from .logits.boundary_split import BoundarySplitLoss
from .logits.channel_wise import ChannelGroupDivergenceLoss, ChannelWiseDivergence
from .logits.dist import DISTLoss
from .logits.kl_divergence import DecoupledKDLoss, KLDivergenceLoss

__all__ = [name for name, value in globals().items() if isinstance(value, type)]
