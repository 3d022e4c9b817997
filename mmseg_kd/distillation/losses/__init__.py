"""The distillation losses: of `logits` and of `features`, one file a family."""

from mmseg_kd.distillation.losses.features import (
    AttentionTransferLoss,
    FitNetLoss,
    PairwiseLoss,
    SimilarityPreservingLoss,
)
from mmseg_kd.distillation.losses.logits import (
    ChannelWiseDivergence,
    DISTLoss,
    KLDivergenceLoss,
)

__all__ = [
    'AttentionTransferLoss',
    'ChannelWiseDivergence',
    'DISTLoss',
    'FitNetLoss',
    'KLDivergenceLoss',
    'PairwiseLoss',
    'SimilarityPreservingLoss',
]
