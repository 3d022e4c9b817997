"""Pixel-wise distillation of the logits."""

from typing import Any

import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_kd.distillation.losses.logits.temperature import ClassLoss
from mmseg_kd.distillation.maps import mean_of_valid


@MODELS.register_module()
class KLDivergenceLoss(ClassLoss):
    r"""Kullback-Leibler divergence between the teacher's and the student's class distributions.

    Hinton et al., Distilling the Knowledge in a Neural Network, 2015,
    https://arxiv.org/abs/1503.02531, per pixel:

    .. math:: L = \frac{T^2}{|V|} \sum_{i \in V} \sum_k p^T_{ik} (\log p^T_{ik} - \log p^S_{ik})

    with :math:`p = \mathrm{softmax}_k(z / T)` over the classes and V the pixels that are not
    void. The factor T^2 keeps the size of the gradient when T changes.

    Config: ``dict(type='KLDivergenceLoss', temperature=4.0, loss_weight=1.0)``

    Shapes: student (N, K, H, W), K = 1 being the logit of class 1 of two (mmseg's
    `out_channels=1`); teacher (N, K, H', W'), resized to (H, W) (bilinear, align_corners=False);
    target (N, H'', W'') or None, resized to (H, W) (nearest).

    Args:
        temperature: T, above 0: a number or a schedule.
        reduction: 'pixel_mean' as above. 'batchmean' divides by the batch size N instead of
            |V|, as `torch.nn.KLDivLoss` does to a map: the value then grows with the number
            of pixels, about 10,000 times at stride 4 of 512x512 (for comparison with
            toolkits that have it).
        ignore_index: Label of void pixels, which are left out; None keeps every pixel.
        stages: The tap, the logits.
        standardize: Bring each pixel's logits to mean 0 and standard deviation 1 over the classes
            first, so that the student need not match the teacher's scale (Sun et al., Logit
            Standardization in Knowledge Distillation, CVPR 2024). It needs at least 3 classes.
        **kwargs: `loss_weight`, `teacher_stages` and `teacher`, as for every `KDLoss`.

    Raises:
        ValueError: On temperature <= 0, several taps, different channel counts, or `standardize`
            with fewer than 3 classes.
        UserError: When a scheduled temperature is no longer above 0.

    Example:
        >>> student, teacher = torch.zeros(2, 12, 8, 8), torch.ones(2, 12, 8, 8)
        >>> KLDivergenceLoss(temperature=4.0)(student, teacher)
        tensor(0.)
    """

    reductions = ('pixel_mean', 'batchmean')

    def __init__(self, standardize: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.standardize = standardize

    def compare(self, student: Tensor, teacher: Tensor, target: Tensor | None) -> Tensor:
        """Compute the divergence of one pair of logits, a scalar."""
        if self.standardize:
            self.require(
                student.shape[1] >= 3,
                'standardize=True needs at least 3 classes: of two, the standardized logits are '
                'always 1 and -1',
            )
            teacher, student = z_score(teacher), z_score(student)
        temperature = self.current_temperature()
        log_p = F.log_softmax(teacher / temperature, dim=1)
        log_q = F.log_softmax(student / temperature, dim=1)
        divergence = F.kl_div(log_q, log_p, reduction='none', log_target=True).sum(dim=1)
        valid = self.valid(target, student)
        if self.reduction == 'batchmean':
            return temperature**2 * (divergence * valid).sum() / len(divergence)
        return temperature**2 * mean_of_valid(divergence, valid)


def z_score(logits: Tensor) -> Tensor:
    """Bring logits (N, K, H, W) to mean 0 and standard deviation 1 over the classes.

    Example:
        >>> z_score(torch.tensor([0.0, 2.0]).reshape(1, 2, 1, 1)).flatten().round()
        tensor([-1.,  1.])
    """
    centred = logits - logits.mean(dim=1, keepdim=True)
    return centred / (centred.square().mean(dim=1, keepdim=True) + 1e-7).sqrt()
