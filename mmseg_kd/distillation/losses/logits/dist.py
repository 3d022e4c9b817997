"""Distillation of the ranking of the classes of a pixel, and of the pixels of a class."""

from typing import Any

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_kd.distillation.losses.bases import ClassLoss
from mmseg_kd.distillation.maps import standardised


@MODELS.register_module()
class DISTLoss(ClassLoss):
    r"""One minus the correlation between the teacher's and the student's probabilities.

    Huang et al., Knowledge Distillation from A Stronger Teacher, NeurIPS 2022,
    https://arxiv.org/abs/2205.10536. With :math:`P = \mathrm{softmax}_k(z / T)` as a matrix of one
    row per pixel of the batch that is not void, and one column per class:

    .. math:: L = T^2 \Big[ \frac{\beta}{|V|} \sum_{i \in V} d(P^S_{i \cdot}, P^T_{i \cdot})
              + \frac{\gamma}{K} \sum_k d(P^S_{\cdot k}, P^T_{\cdot k}) \Big], \quad
              d(a, b) = 1 - \mathrm{corr}(a, b)

    with Pearson's correlation. d is computed as half the mean squared difference of the
    standardised values, which is the same and exactly 0 at equality. Constant values have no
    correlation: d is 0 between two of them, and 1/2 between one and values that vary. The student
    need not match the teacher's confidence, only its ranking.

    Config: ``dict(type='DISTLoss', loss_weight=1.0)``, the authors' setting for segmentation
    (T = 1, beta = gamma = 1).

    With two classes only the relations between pixels have a gradient: the correlation between two
    probabilities of a pixel is always 1 or -1.

    Shapes: student (N, K, H, W), K = 1 being the logit of class 1 of two (mmseg's
    `out_channels=1`); teacher (N, K, H', W'), resized to (H, W) (bilinear, align_corners=False);
    target (N, H'', W'') or None, resized to (H, W) (nearest). With several processes each
    correlates over its own part of the batch.

    Args:
        temperature: T, above 0: a number or a schedule.
        beta: Factor of the relations between the classes of a pixel.
        gamma: Factor of the relations between the pixels of a class.
        reduction: 'mean' as above.
        ignore_index: Label of void pixels, which are left out; None keeps every pixel.
        stages: The tap, the logits.
        **kwargs: `loss_weight`, `teacher_stages` and `teacher`, as for every `KDLoss`.

    Raises:
        ValueError: On temperature <= 0, a negative factor, several taps, or different channel
            counts.
        UserError: When a scheduled temperature is no longer above 0.

    Example:
        >>> student = torch.tensor([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1)
        >>> round(float(DISTLoss(gamma=0.0)(student, student.flip(1))), 3)
        1.867
    """

    def __init__(
        self, temperature: float | dict = 1.0, beta: float = 1.0, gamma: float = 1.0, **kwargs: Any
    ) -> None:
        super().__init__(temperature, **kwargs)
        self.require(min(beta, gamma) >= 0, f'beta={beta!r} and gamma={gamma!r} must be at least 0')
        self.beta, self.gamma = beta, gamma

    def compare(self, student: Tensor, teacher: Tensor, target: Tensor | None) -> Tensor:
        """Compute the distance of one pair of logits, a scalar."""
        classes, temperature = student.shape[1], self.current_temperature()
        valid = self.valid(target, student)[:, None].to(student.dtype)
        count = valid.sum().clamp(min=1)
        # Both in one tensor, so that every step below runs once for both.
        p = (torch.stack([student, teacher]) / temperature).softmax(dim=2)
        # 1 - correlation is half the mean squared difference of standardised values.
        of_pixel, of_class = (
            F.mse_loss(*standardised(p, valid, dim, number), reduction='sum')
            for dim, number in ((2, classes), ((1, 3, 4), count))
        )
        scale = temperature**2 / (2 * classes * count)
        return scale * (self.beta * of_pixel + self.gamma * of_class)
