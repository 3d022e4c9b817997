"""Pixel-wise distillation of the logits."""

from __future__ import annotations

import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_kd.distillation.base import KDLoss, resize_map


@MODELS.register_module()
class KLDivergenceLoss(KDLoss):
    r"""Kullback-Leibler divergence between the teacher's and the student's class distributions.

    Hinton et al., Distilling the Knowledge in a Neural Network, 2015,
    https://arxiv.org/abs/1503.02531, per pixel:

    .. math:: L = \frac{T^2}{|V|} \sum_{i \in V} \sum_k p^T_{ik} (\log p^T_{ik} - \log p^S_{ik})

    with :math:`p = \mathrm{softmax}_k(z / T)` over the classes and V the pixels that are not
    void. The factor T^2 keeps the size of the gradient when T changes.

    Config: ``dict(type='KLDivergenceLoss', temperature=4.0, loss_weight=1.0)``

    Shapes: student (N, K, H, W); teacher (N, K, H', W'), resized to (H, W) (bilinear,
    align_corners=False); target (N, H'', W'') or None, resized to (H, W) (nearest).

    Args:
        temperature: T, above 0.
        loss_weight: Factor of the loss.
        reduction: 'pixel_mean' as above. 'batchmean' divides by the batch size N instead of
            |V|, as `torch.nn.KLDivLoss` does to a map: the value then grows with the number
            of pixels, about 10,000 times at stride 4 of 512x512 (for comparison with
            toolkits that have it).
        ignore_index: Label of void pixels, which are left out; None keeps every pixel.
        stages: The tap, the logits.
        teacher_stages: The teacher's tap, where its name differs.

    Raises:
        ValueError: On temperature <= 0, several taps, or different class counts.
    """

    reductions = ('pixel_mean', 'batchmean')

    def __init__(
        self,
        temperature: float = 4.0,
        loss_weight: float = 1.0,
        reduction: str = 'pixel_mean',
        ignore_index: int | None = 255,
        stages: str = 'logits',
        teacher_stages: str | None = None,
    ) -> None:
        super().__init__(loss_weight, reduction, stages, teacher_stages)
        if len(self.stages) != 1:
            raise ValueError(f'KLDivergenceLoss: compares one tap, not {self.stages}')
        if not isinstance(temperature, int | float) or not temperature > 0:
            raise ValueError(f'KLDivergenceLoss: temperature={temperature!r} is no number above 0')
        self.temperature = temperature
        self.ignore_index = ignore_index

    def distance(
        self, student: list[Tensor], teacher: list[Tensor], target: Tensor | None
    ) -> Tensor:
        """Compute the divergence of one pair of logits, a scalar."""
        (student_logits,), (teacher_logits,) = student, teacher
        if student_logits.shape[1] != teacher_logits.shape[1]:
            raise ValueError(
                f'KLDivergenceLoss: the student has {student_logits.shape[1]} classes, '
                f'the teacher {teacher_logits.shape[1]}'
            )
        teacher_logits = resize_map(teacher_logits, student_logits.shape[2:])
        log_p = F.log_softmax(teacher_logits / self.temperature, dim=1)
        log_q = F.log_softmax(student_logits / self.temperature, dim=1)
        divergence = (log_p.exp() * (log_p - log_q)).sum(dim=1)
        count = divergence.numel()
        if target is not None and self.ignore_index is not None:
            valid = resize_labels(target, divergence.shape[1:]) != self.ignore_index
            divergence = divergence * valid
            count = valid.sum().clamp(min=1)
        if self.reduction == 'batchmean':
            count = len(divergence)
        return self.temperature**2 * divergence.sum() / count

    def extra_repr(self) -> str:
        """Show the settings in the printed model."""
        return f'temperature={self.temperature}, {super().extra_repr()}'


def resize_labels(target: Tensor, size: tuple[int, ...]) -> Tensor:
    """Bring labels (N, H, W) to `size` by nearest neighbour; itself where equal."""
    if tuple(target.shape[1:]) == tuple(size):
        return target
    # Ids up to 255 are exact in float32, which every device can interpolate.
    return F.interpolate(target[:, None].float(), tuple(size), mode='nearest-exact')[:, 0]
