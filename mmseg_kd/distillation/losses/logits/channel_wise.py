"""Distillation of where in the image each channel, or each group of channels, is active."""

from typing import Any

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_kd.distillation.losses.bases import TemperatureLoss


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
    group_size = 1

    def compare(self, student: Tensor, teacher: Tensor, target: Tensor | None) -> Tensor:
        """Compute the distance of one pair of maps, a scalar."""
        self.require(
            self.group_size <= student.shape[1],
            f'group_size={self.group_size} is more than the {student.shape[1]} channels',
        )
        valid, temperature = self.valid(target, student), self.current_temperature()
        return place_divergence(student, teacher, valid, temperature, self.group_size)


@MODELS.register_module()
class ChannelGroupDivergenceLoss(ChannelWiseDivergence):
    r"""Compute the KL divergence between the distributions over the places of channel groups.

    The channel group distillation (CGD) of SegDistill, https://github.com/wzpscott/SegDistill.
    It is `ChannelWiseDivergence` with one softmax over all places and channels of a group G of g
    consecutive channels; the last group has the remaining ones:

    .. math:: L = \frac{T^2}{N \lceil C / g \rceil} \sum_{n, G} \sum_{c \in G, i \in V_n}
              p^T_{nci} (\log p^T_{nci} - \log p^S_{nci}), \quad
              p_{nG} = \mathrm{softmax}_{c \in G, i \in V_n}(F_{nc} / T)

    It also transfers how strong the channels of a group are relative to each other. With g = 1 it
    is `ChannelWiseDivergence`.

    SegDistill has groups of 10 of ADE20K's 150 classes, T = 2 and weight 3 without the factor
    T^2, which is 0.75 here, raised over the first 2,000 of 160,000 iterations and lowered to 0 from
    110,000 to 120,000. It enlarges the logits to the size of the labels first, masks nothing, and
    shuffles the channels in every 1,000th iteration.

    Config: ``dict(type='ChannelGroupDivergenceLoss', group_size=4, temperature=2.0,
    loss_weight=dict(type='LinearWarmup', end=500, value=dict(type='LinearDecay', value=0.75,
    begin=27500, end=30000)))``, that schedule for 40,000 iterations.

    Shapes and cost: those of `ChannelWiseDivergence`.

    Args:
        group_size: g, from 1 to the number of channels.
        temperature: T, above 0: a number or a schedule.
        reduction: 'group_mean' as above.
        ignore_index: Label of void pixels, which are left out of the softmax; None keeps every
            pixel.
        stages: Taps to compare, summed over; student and teacher have equal channels there.
        **kwargs: `loss_weight`, `teacher_stages` and `teacher`, as for every `KDLoss`.

    Raises:
        ValueError: On a group size below 1 or above the number of channels, temperature <= 0, or
            different channel counts.
        UserError: When a scheduled temperature is no longer above 0.

    Example:
        >>> student, teacher = torch.zeros(2, 11, 8, 8), torch.ones(2, 11, 4, 4)
        >>> ChannelGroupDivergenceLoss(group_size=3)(student, teacher)
        tensor(0.)
    """

    reductions = ('group_mean',)

    def __init__(self, group_size: int = 4, temperature: float | dict = 2.0, **kwargs: Any) -> None:
        super().__init__(temperature, **kwargs)
        self.require(group_size >= 1, f'group_size={group_size!r} must be at least 1')
        self.group_size = group_size


def place_divergence(
    student: Tensor, teacher: Tensor, valid: Tensor, temperature: float | Tensor, group_size: int
) -> Tensor:
    """Average the KL divergence over the places of each group of channels, times T^2.

    Args:
        student: Map (N, C, H, W).
        teacher: Map of the same shape.
        valid: Places that count, booleans (N, H, W).
        temperature: T.
        group_size: Number of channels g of one softmax.

    Example:
        >>> student, teacher = torch.zeros(1, 1, 1, 2), torch.tensor([0.0, 1.0]).reshape(1, 1, 1, 2)
        >>> valid = torch.ones(1, 1, 2, dtype=torch.bool)
        >>> place_divergence(student, teacher, valid, temperature=1.0, group_size=1)
        tensor(0.1109)
    """
    log_p, log_q = (_log_places(x / temperature, valid, group_size) for x in (teacher, student))
    return temperature**2 * (log_p.exp() * (log_p - log_q)).sum(dim=2).mean()


def _log_places(x: Tensor, valid: Tensor, group_size: int) -> Tensor:
    """Return the log-softmax (N, groups, g * HW) over the valid places of a map (N, C, H, W)."""
    # Not -inf: an image without valid places would give nan, and so would 0 * (inf - inf).
    nothing = torch.finfo(x.dtype).min
    x = x.masked_fill(~valid[:, None], nothing)
    missing = -x.shape[1] % group_size
    if missing:
        x = F.pad(x, (0, 0, 0, 0, 0, missing), value=nothing)
    return F.log_softmax(x.reshape(len(x), x.shape[1] // group_size, -1), dim=2)
