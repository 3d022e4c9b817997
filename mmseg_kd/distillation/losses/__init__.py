"""The distillation losses, one file a family."""

from mmseg_kd.distillation.losses.attention_transfer import AttentionTransferLoss
from mmseg_kd.distillation.losses.kl_divergence import KLDivergenceLoss
from mmseg_kd.distillation.losses.similarity_preserving import SimilarityPreservingLoss

__all__ = ['AttentionTransferLoss', 'KLDivergenceLoss', 'SimilarityPreservingLoss']
