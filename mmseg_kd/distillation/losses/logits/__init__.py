"""Losses that compare the scores of the classes.

Helpers: `temperature`, the softmax temperature as a number or a schedule.
"""

from mmseg_kd.distillation.losses.logits.channel_wise import ChannelWiseDivergence
from mmseg_kd.distillation.losses.logits.dist import DISTLoss
from mmseg_kd.distillation.losses.logits.kl_divergence import KLDivergenceLoss

__all__ = ['ChannelWiseDivergence', 'DISTLoss', 'KLDivergenceLoss']
