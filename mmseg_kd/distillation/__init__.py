"""Teachers, taps and distillation losses."""

from mmseg_kd.distillation.base import KDLoss
from mmseg_kd.distillation.gradient_share import GradientShare
from mmseg_kd.distillation.losses import (
    AttentionTransferLoss,
    ChannelWiseDivergence,
    DISTLoss,
    FitNetLoss,
    KLDivergenceLoss,
    PairwiseLoss,
    SimilarityPreservingLoss,
)
from mmseg_kd.distillation.taps import check_taps, list_taps, record_taps
from mmseg_kd.distillation.teacher import Teacher

__all__ = [
    'AttentionTransferLoss',
    'ChannelWiseDivergence',
    'DISTLoss',
    'FitNetLoss',
    'GradientShare',
    'KDLoss',
    'KLDivergenceLoss',
    'PairwiseLoss',
    'SimilarityPreservingLoss',
    'Teacher',
    'check_taps',
    'list_taps',
    'record_taps',
]
