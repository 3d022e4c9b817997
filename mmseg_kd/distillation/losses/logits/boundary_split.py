"""Separate distillation of the boundaries and of the insides of the classes."""

from typing import Any

import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_kd.distillation.losses.bases import ClassLoss
from mmseg_kd.distillation.losses.logits.channel_wise import place_divergence
from mmseg_kd.distillation.maps import average_pool, class_masks


@MODELS.register_module()
class BoundarySplitLoss(ClassLoss):
    r"""Compute a pixel-wise divergence at the boundaries of classes and a channel-wise one inside.

    After Liu et al., BPKD: Boundary Privileged Knowledge Distillation for Semantic Segmentation,
    WACV 2024, https://arxiv.org/abs/2306.08075. With :math:`1_c` the pixels labelled c, dilated and
    eroded by a square of `kernel_size` pixels of the labels, and averaged over the cells of the
    logits:

    .. math:: E_c = \mathrm{pool}(\mathrm{dilate}(1_c) - \mathrm{erode}(1_c)), \quad
              L = w_e L_\mathrm{edge} + w_b L_\mathrm{body}

    .. math:: L_\mathrm{edge} = \frac{T^2}{\sum_{i \in V} \max_c E_{ic}} \sum_{i \in V} \sum_c
              E_{ic} \Big( p^T_{ic} \log \frac{p^T_{ic}}{p^S_{ic}} - p^T_{ic} + p^S_{ic} \Big),
              \quad p_i = \mathrm{softmax}_c(z_i / T)

    .. math:: L_\mathrm{body} = \mathrm{CWD}_T \big((1 - E) z^S, (1 - E) z^T \big)

    with V the pixels that are not void and CWD the loss `ChannelWiseDivergence`. Void is not a
    class and makes no boundary.

    The authors published no training code; the normalisation is this project's. The terms
    :math:`p^S - p^T`, whose sum over all classes is 0, keep each class' part at least 0. Without
    them weighted parts of KL can be negative, and are least where student and teacher differ.

    Config: ``dict(type='BoundarySplitLoss', loss_weight=1.0)``, with the paper's factors of 50
    for the edge and 20 for the body.

    Shapes: student (N, K, H, W), K = 1 being the logit of class 1 of two (mmseg's
    `out_channels=1`); teacher (N, K, H', W'), resized to (H, W) (bilinear, align_corners=False);
    target (N, H'', W''). Memory: a few maps (N, K, H'', W''), as cross-entropy has.

    Args:
        edge_weight: Factor w_e.
        body_weight: Factor w_b.
        kernel_size: Side of the square in pixels of the labels, odd; the boundary reaches half of
            it to either side.
        temperature: T, above 0: a number or a schedule.
        reduction: 'mean' as above.
        ignore_index: Label of void pixels; None keeps every pixel.
        stages: The tap, the logits.
        **kwargs: `loss_weight`, `teacher_stages` and `teacher`, as for every `KDLoss`.

    Raises:
        ValueError: On a kernel size that is even or below 3, a negative factor, temperature <= 0,
            several taps, different channel counts, or without labels.
        UserError: When a scheduled temperature is no longer above 0.

    Example:
        >>> logits, target = torch.randn(2, 12, 8, 8), torch.zeros(2, 32, 32, dtype=torch.long)
        >>> BoundarySplitLoss()(logits, logits, target)
        tensor(0.)
    """

    needs_labels = True

    def __init__(
        self,
        edge_weight: float = 50.0,
        body_weight: float = 20.0,
        kernel_size: int = 7,
        temperature: float | dict = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(temperature, **kwargs)
        self.require(
            min(edge_weight, body_weight) >= 0, f'{edge_weight=} or {body_weight=} is negative'
        )
        self.require(
            kernel_size >= 3 and kernel_size % 2 == 1, f'{kernel_size=} is not an odd number from 3'
        )
        self.edge_weight, self.body_weight = edge_weight, body_weight
        self.kernel_size = kernel_size

    def compare(self, student: Tensor, teacher: Tensor, target: Tensor) -> Tensor:
        """Compute the loss of one pair of logits, a scalar."""
        temperature, valid = self.current_temperature(), self.valid(target, student)
        masks = class_masks(target, student.shape[1], self.ignore_index)
        boundaries = class_boundaries(masks, self.kernel_size).to(student.dtype)
        edges = average_pool(boundaries, student.shape[2:])
        weights = edges * valid[:, None]
        log_p, log_q = (F.log_softmax(x / temperature, dim=1) for x in (teacher, student))
        edge = (weights * _divergence_parts(log_p, log_q)).sum()
        edge = temperature**2 * edge / weights.amax(dim=1).sum().clamp(min=1)
        inside = 1 - edges
        body = place_divergence(inside * student, inside * teacher, valid, temperature, 1)
        return self.edge_weight * edge + self.body_weight * body


def class_boundaries(masks: Tensor, kernel_size: int) -> Tensor:
    """Return dilated minus eroded class masks (N, K, H, W), booleans.

    A class has a boundary where the square of `kernel_size` pixels contains it and another class.
    Pixels without a class, and those outside of the image, make no boundary.

    Example:
        >>> masks = torch.tensor([[1, 1, 0, 0], [0, 0, 1, 1]]).reshape(1, 2, 1, 4).bool()
        >>> class_boundaries(masks, 3)[0, 0].int()
        tensor([[0, 1, 1, 0]], dtype=torch.int32)
    """
    near = F.max_pool2d(masks.float(), kernel_size, stride=1, padding=kernel_size // 2)
    return near.bool() & (near.sum(dim=1, keepdim=True) > 1)


def _divergence_parts(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Return p log(p / q) - p + q, at least 0 and exactly 0 where p equals q."""
    p, q = log_p.exp(), log_q.exp()
    return p * (log_p - log_q) + (q - p)
