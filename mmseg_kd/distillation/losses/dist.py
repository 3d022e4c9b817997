"""Distillation of how classes rank, and of how pixels rank within a class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_kd.distillation.base import KDLoss, resize_map
from mmseg_kd.distillation.losses.temperature import current_temperature, temperature_of
from mmseg_kd.distillation.losses.void import valid_pixels

# Above the rounding of a mean of probabilities, so that constant ones have no direction, and
# below what a rare class' probabilities vary by.
SMALLEST_DEVIATION = 1e-6


@MODELS.register_module()
class DISTLoss(KDLoss):
    r"""One minus the correlation between the teacher's and the student's probabilities.

    Huang et al., Knowledge Distillation from A Stronger Teacher, NeurIPS 2022,
    https://arxiv.org/abs/2205.10536. With :math:`P = \mathrm{softmax}_k(z / T)` as a matrix of
    one row a pixel that is not void, all images of the batch together, and one column a class:

    .. math:: L = T^2 \Big[ \frac{\beta}{|V|} \sum_{i \in V} d(P^S_{i \cdot}, P^T_{i \cdot})
              + \frac{\gamma}{K} \sum_k d(P^S_{\cdot k}, P^T_{\cdot k}) \Big], \quad
              d(a, b) = 1 - \mathrm{corr}(a, b)

    with Pearson's correlation. d is computed as half the mean squared difference of the
    standardised values, which is the same and exactly 0 at equality. Constant values have no
    correlation; their d is 0 to one another and 1/2 to others. The student need not match
    the teacher's confidence, only its order.

    Config: ``dict(type='DISTLoss', loss_weight=1.0)``, the authors' setting for segmentation
    (T = 1, beta = gamma = 1).

    Of two classes only the relations between pixels have a gradient: the correlation between two
    probabilities of a pixel is always 1 or -1.

    Shapes: student (N, K, H, W), K = 1 being the logit of class 1 of two (mmseg's
    `out_channels=1`); teacher (N, K, H', W'), resized to (H, W) (bilinear, align_corners=False);
    target (N, H'', W'') or None, resized to (H, W) (nearest). Under
    several processes each correlates over its own part of the batch.

    Args:
        temperature: T, above 0: a number or a schedule.
        beta: Factor of the relations between the classes of a pixel.
        gamma: Factor of the relations between the pixels of a class.
        reduction: 'mean' as above.
        ignore_index: Label of void pixels, which are left out; None keeps every pixel.
        stages: The tap, the logits.
        **kwargs: `loss_weight`, `teacher_stages` and `teacher`, as for every `KDLoss`.

    Raises:
        ValueError: On temperature <= 0, several taps, or different channel counts.
        UserError: When a scheduled temperature is no longer above 0.
    """

    reductions = ('mean',)
    one_tap = True
    equal_channels = True
    of_classes = True

    def __init__(
        self,
        temperature: float | dict = 1.0,
        beta: float = 1.0,
        gamma: float = 1.0,
        reduction: str = 'mean',
        ignore_index: int | None = 255,
        stages: str = 'logits',
        **kwargs: Any,
    ) -> None:
        super().__init__(reduction, stages, **kwargs)
        self.temperature = temperature_of(self, temperature)
        self.beta, self.gamma = beta, gamma
        self.ignore_index = ignore_index

    def distance(
        self, student: list[Tensor], teacher: list[Tensor], target: Tensor | None
    ) -> Tensor:
        """Compute the distance of one pair of logits, a scalar."""
        (student_logits,), (teacher_logits,) = student, teacher
        size = student_logits.shape[2:]
        temperature = current_temperature(self)
        p = (resize_map(teacher_logits, size) / temperature).softmax(dim=1)
        q = (student_logits / temperature).softmax(dim=1)
        valid = valid_pixels(target, size, self.ignore_index)
        valid = p.new_ones(len(p), 1, *size) if valid is None else valid[:, None].to(p.dtype)
        count = valid.sum().clamp(min=1)
        classes = torch.ones_like(p[:1, :, :1, :1])
        per_pixel = _half_squared_difference(q, p, (1,), classes, p.shape[1])
        inter = (per_pixel * valid).sum() / count
        intra = _half_squared_difference(q, p, (0, 2, 3), valid, count).mean()
        return temperature**2 * (self.beta * inter + self.gamma * intra)

    def extra_repr(self) -> str:
        """Show the settings in the printed model."""
        return (
            f'temperature={self.temperature}, beta={self.beta}, gamma={self.gamma}, '
            f'{super().extra_repr()}'
        )


def _half_squared_difference(
    q: Tensor, p: Tensor, dim: Sequence[int], valid: Tensor, count: Tensor | int
) -> Tensor:
    """1 - correlation over the valid entries (`count` in number) along `dim`, which is kept."""
    q, p = (_standardised(x, dim, valid, count) for x in (q, p))
    return (q - p).square().sum(dim=dim, keepdim=True) / count / 2


def _standardised(x: Tensor, dim: Sequence[int], valid: Tensor, count: Tensor | int) -> Tensor:
    x = (x - (x * valid).sum(dim=dim, keepdim=True) / count) * valid
    variance = x.square().sum(dim=dim, keepdim=True) / count
    return x / (variance + SMALLEST_DEVIATION**2).sqrt()
