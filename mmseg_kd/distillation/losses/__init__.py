"""The distillation losses, one file a family."""

from mmseg_kd.distillation.losses.attention_transfer import AttentionTransferLoss
from mmseg_kd.distillation.losses.channel_wise import ChannelWiseDivergence
from mmseg_kd.distillation.losses.dist import DISTLoss
from mmseg_kd.distillation.losses.fitnet import FitNet
from mmseg_kd.distillation.losses.kl_divergence import KLDivergenceLoss
from mmseg_kd.distillation.losses.pairwise import PairwiseLoss
from mmseg_kd.distillation.losses.similarity_preserving import SimilarityPreservingLoss

__all__ = [
    'AttentionTransferLoss',
    'ChannelWiseDivergence',
    'DISTLoss',
    'FitNet',
    'KLDivergenceLoss',
    'PairwiseLoss',
    'SimilarityPreservingLoss',
]
