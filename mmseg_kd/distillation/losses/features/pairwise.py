"""Distillation of which patches of an image look alike."""

from typing import Any

import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_kd.distillation.base import KDLoss
from mmseg_kd.distillation.losses.features.pooling import max_pool
from mmseg_kd.distillation.losses.features.similarity_preserving import place_similarity


@MODELS.register_module()
class PairwiseLoss(KDLoss):
    r"""Distance between the cosine similarities of the patches of each image.

    The pair-wise loss of Liu et al., Structured Knowledge Distillation for Semantic
    Segmentation, CVPR 2019, https://arxiv.org/abs/1903.04197, with the value of the authors' code:

    .. math:: L = \frac{1}{N} \sum_n \frac{1}{|R_n|^2} \sum_{i, j \in R_n}
              (a^S_{nij} - a^T_{nij})^2, \quad
              a_{ij} = \frac{f_i^\top f_j}{\lVert f_i \rVert_2 \lVert f_j \rVert_2}

    with f the maxima of the map's features over patches, and :math:`R_n` those patches of image n
    of which at least half is not void. An image that is wholly void gives 0 and counts in N.

    The gradient is that of the formula; the authors' code holds the norms constant in it.

    `SimilarityPreservingLoss(mode='pixel')` is the same distance; it averages over a grid of 16
    x 16 cells where this one takes the maximum over patches of `scale` times the map, 2 x 2 by
    default, and it knows no void.

    Config: ``dict(type='PairwiseLoss', loss_weight=1.0)``, the authors' weight.

    Shapes: student maps (N, C, H, W); teacher maps (N, C', H', W'), resized to (H, W) (bilinear,
    align_corners=False); target (N, H'', W'') or None, resized to (H, W) (nearest). Channels
    may differ. Memory grows with the fourth power of 1 / scale.

    Args:
        scale: Side of a patch as a fraction of the map's, above 0 and up to 1; the last patches
            are smaller where it does not divide it.
        reduction: 'mean' as above.
        ignore_index: Label of void pixels; None keeps every patch.
        stages: Taps to compare, summed over.
        **kwargs: `loss_weight`, `teacher_stages` and `teacher`, as for every `KDLoss`.

    Raises:
        ValueError: On a scale outside (0, 1].

    Example:
        >>> student, teacher = torch.ones(2, 32, 8, 8), torch.ones(2, 32, 4, 4)
        >>> PairwiseLoss(scale=0.25)(student, teacher)
        tensor(0.)
    """

    def __init__(self, scale: float = 0.5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.require(0 < scale <= 1, f'scale={scale!r} is not above 0 and up to 1')
        self.scale = scale

    def compare(self, student: Tensor, teacher: Tensor, target: Tensor | None) -> Tensor:
        """Compute the distance of one pair of maps, a scalar."""
        patch = [max(1, int(side * self.scale)) for side in student.shape[2:]]
        ours, theirs = (place_similarity(max_pool(x, patch)) for x in (student, teacher))
        valid = self.valid(target, student)[:, None].to(student.dtype)
        kept = (F.avg_pool2d(valid, patch, ceil_mode=True) >= 0.5).flatten(1).to(student.dtype)
        kept = kept[:, :, None] * kept[:, None]
        squared = ((ours - theirs).square() * kept).sum(dim=(1, 2))
        return (squared / kept.sum(dim=(1, 2)).clamp(min=1)).mean()
