"""Pixel-wise KL divergence of the classes: whole, or split at the labelled class."""

from typing import Any

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_kd.distillation.losses.bases import ClassLoss
from mmseg_kd.distillation.maps import class_masks, mean_of_valid, resize_labels, z_score


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
            |V|, as `torch.nn.KLDivLoss` does to a map, for comparison with toolkits that do so.
            The value then grows with the number of pixels: 16,384 times at stride 4 of 512x512.
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
                'standardize=True needs at least 3 classes: with two, the standardized logits are '
                'always 1 and -1',
            )
            teacher, student = (z_score(x, dim=1, eps=1e-7) for x in (teacher, student))
        temperature = self.current_temperature()
        log_p, log_q = (F.log_softmax(x / temperature, dim=1) for x in (teacher, student))
        divergence = F.kl_div(log_q, log_p, reduction='none', log_target=True).sum(dim=1)
        valid = self.valid(target, student)
        if self.reduction == 'batchmean':
            return temperature**2 * (divergence * valid).sum() / len(divergence)
        return temperature**2 * mean_of_valid(divergence, valid)


@MODELS.register_module()
class DecoupledKDLoss(ClassLoss):
    r"""Compute KL divergences of the labelled class against the rest, and among the rest.

    Zhao et al., Decoupled Knowledge Distillation, CVPR 2022, https://arxiv.org/abs/2203.08679,
    per pixel. With y the label of pixel i, :math:`p = \mathrm{softmax}_k(z / T)`,
    :math:`\hat p = \mathrm{softmax}_{k \ne y}(z / T)` and V the pixels that have a class:

    .. math:: L = \frac{T^2}{|V|} \sum_{i \in V} \Big[
              \alpha \, \mathrm{KL}\big((p^T_y, 1 - p^T_y) \,\|\, (p^S_y, 1 - p^S_y)\big)
              + \beta \, \mathrm{KL}(\hat p^T \,\|\, \hat p^S) \Big]

    The first term is TCKD, the second NCKD. KL of the whole softmax is TCKD + (1 - p^T_y) NCKD,
    which gives NCKD almost no weight where the teacher is certain. With two classes NCKD is 0.

    Config: ``dict(type='DecoupledKDLoss', alpha=1.0, beta=8.0)``, the authors' setting for
    CIFAR-100 (T = 4); they raise the weight linearly in the first epochs (`LinearWarmup`).

    Shapes: student (N, K, H, W), K = 1 being the logit of class 1 of two (mmseg's
    `out_channels=1`); teacher (N, K, H', W'), resized to (H, W) (bilinear, align_corners=False);
    target (N, H'', W''), resized to (H, W) (nearest). Cost: about that of `KLDivergenceLoss`.

    Args:
        alpha: Factor of TCKD.
        beta: Factor of NCKD.
        temperature: T, above 0: a number or a schedule.
        reduction: 'pixel_mean' as above.
        ignore_index: Label of void pixels. Labels that are not a class are left out in any case.
        stages: The tap, the logits.
        **kwargs: `loss_weight`, `teacher_stages` and `teacher`, as for every `KDLoss`.

    Raises:
        ValueError: On temperature <= 0, a negative factor, several taps, different channel counts,
            or without labels.
        UserError: When a scheduled temperature is no longer above 0.

    Example:
        >>> logits, target = torch.randn(2, 12, 8, 8), torch.zeros(2, 32, 32, dtype=torch.long)
        >>> DecoupledKDLoss()(logits, logits, target)
        tensor(0.)
    """

    reductions = ('pixel_mean',)
    needs_labels = True

    def __init__(self, alpha: float = 1.0, beta: float = 8.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.require(min(alpha, beta) >= 0, f'alpha={alpha!r} and beta={beta!r} must be at least 0')
        self.alpha, self.beta = alpha, beta

    def compare(self, student: Tensor, teacher: Tensor, target: Tensor) -> Tensor:
        """Compute the loss of one pair of logits, a scalar."""
        temperature, classes = self.current_temperature(), student.shape[1]
        labels = resize_labels(target, student.shape[2:])
        is_label = class_masks(labels, classes, self.ignore_index)
        margin_t, log_p = _decoupled(teacher / temperature, is_label)
        margin_s, log_q = _decoupled(student / temperature, is_label)
        # sigmoid(margin) is the probability of the label, sigmoid(-margin) that of the others.
        target_kl = sum(
            F.kl_div(F.logsigmoid(s), F.logsigmoid(t), reduction='none', log_target=True)
            for s, t in ((margin_s, margin_t), (-margin_s, -margin_t))
        )
        other_kl = F.kl_div(log_q, log_p, reduction='none', log_target=True).sum(dim=1)
        loss = self.alpha * target_kl + self.beta * other_kl
        return temperature**2 * mean_of_valid(loss, is_label.any(dim=1))


def _decoupled(x: Tensor, is_label: Tensor) -> tuple[Tensor, Tensor]:
    """Split logits (N, K, H, W) at the label.

    Returns:
        The label's logit minus the logsumexp of the others, (N, H, W), and the log-softmax over the
        others, (N, K, H, W), whose exponential is exactly 0 at the label.
    """
    # Not -inf, whose differences would be nan.
    others = x.masked_fill(is_label, torch.finfo(x.dtype).min)
    margin = (x * is_label).sum(dim=1) - others.logsumexp(dim=1)
    return margin, F.log_softmax(others, dim=1)
