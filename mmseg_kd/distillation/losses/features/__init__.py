"""Losses that compare the maps inside the networks.

Helpers: `pooling`, pooling with a fast backward pass.
"""

from mmseg_kd.distillation.losses.features.attention_transfer import AttentionTransferLoss
from mmseg_kd.distillation.losses.features.fitnet import FitNetLoss
from mmseg_kd.distillation.losses.features.pairwise import PairwiseLoss
from mmseg_kd.distillation.losses.features.similarity_preserving import SimilarityPreservingLoss

__all__ = ['AttentionTransferLoss', 'FitNetLoss', 'PairwiseLoss', 'SimilarityPreservingLoss']
