"""Distillation of where in the image each channel is active."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_kd.distillation.base import resize_map
from mmseg_kd.distillation.losses.logits.temperature import TemperatureLoss
from mmseg_kd.distillation.losses.void import valid_pixels


@MODELS.register_module()
class ChannelWiseDivergence(TemperatureLoss):
    r"""Kullback-Leibler divergence between the spatial distributions of each channel.

    Shu et al., Channel-wise Knowledge Distillation for Dense Prediction, ICCV 2021,
    https://arxiv.org/abs/2011.13256:

    .. math:: L = \frac{T^2}{N C} \sum_{n, c} \sum_{i \in V_n} p^T_{nci}
              (\log p^T_{nci} - \log p^S_{nci}), \quad
              p_{nc} = \mathrm{softmax}_{i \in V_n}(F_{nc} / T)

    with the softmax over the places of an image, not over its channels, and :math:`V_n` those
    places of image n that are not void. An image that is wholly void gives 0 and counts in N.

    Config: ``dict(type='ChannelWiseDivergence', temperature=4.0, loss_weight=3.0)`` for the
    logits, as in the paper, which takes weight 50 for features.

    Shapes: student maps (N, C, H, W); teacher maps (N, C, H', W'), resized to (H, W)
    (bilinear, align_corners=False); target (N, H'', W'') or None, resized to (H, W) (nearest).

    Args:
        temperature: T, above 0: a number or a schedule.
        reduction: 'channel_mean' as above.
        ignore_index: Label of void pixels, which are left out of the softmax; None keeps every
            pixel.
        stages: Taps to compare, summed over; student and teacher have equal channels there.
        **kwargs: `loss_weight`, `teacher_stages` and `teacher`, as for every `KDLoss`.

    Raises:
        ValueError: On temperature <= 0, or different channel counts.
        UserError: When a scheduled temperature is no longer above 0.

    Example:
        >>> student, teacher = torch.zeros(2, 12, 8, 8), torch.ones(2, 12, 4, 4)
        >>> ChannelWiseDivergence(temperature=4.0)(student, teacher)
        tensor(0.)
    """

    reductions = ('channel_mean',)
    equal_channels = True

    def compare(self, student: Tensor, teacher: Tensor, target: Tensor | None) -> Tensor:
        """Compute the distance of one pair of maps, a scalar."""
        size = student.shape[2:]
        temperature = self.current_temperature()
        valid = valid_pixels(target, size, self.ignore_index)
        log_p = _log_places(resize_map(teacher, size) / temperature, valid)
        log_q = _log_places(student / temperature, valid)
        divergence = (log_p.exp() * (log_p - log_q)).sum(dim=2)
        return temperature**2 * divergence.mean()


def _log_places(x: Tensor, valid: Tensor | None) -> Tensor:
    """Log-softmax (N, C, HW) over the valid places of a map (N, C, H, W)."""
    if valid is not None:
        # Not -inf: an image without valid places would give nan, and so would 0 * (inf - inf).
        x = x.masked_fill(~valid[:, None], torch.finfo(x.dtype).min)
    return F.log_softmax(x.flatten(2), dim=2)
