"""Distillation of similarities: between images, places or patches."""

from typing import Any

import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_kd.distillation.base import KDLoss
from mmseg_kd.distillation.maps import average_pool, max_pool
from mmseg_kd.errors import UserError


@MODELS.register_module()
class SimilarityPreservingLoss(KDLoss):
    r"""Distance between the similarity matrices of student and teacher.

    Tung and Mori, Similarity-Preserving Knowledge Distillation, ICCV 2019,
    https://arxiv.org/abs/1907.09682:

    .. math:: L = \frac{1}{b^2} \lVert G_T - G_S \rVert_F^2, \quad
              G = \mathrm{rows}(A A^\top) / \lVert \cdot \rVert_2

    mode='batch' (the paper): A holds one row per image, its features flattened, b is the
    batch size. With random crops it compares different scenes position by position, and a batch
    of 4 gives only 12 similarities.

    mode='pixel': the same distance between the places of each image. Maps are averaged over at
    most `grid` cells, every cell's features are L2-normalised, b is the number of cells; the
    result is a mean over the batch. This is the pair-wise loss of Liu et al., Structured
    Knowledge Distillation for Semantic Segmentation, CVPR 2019; `PairwiseLoss` is its published
    form, with larger patches and maximum pooling.

    Config: ``dict(type='SimilarityPreservingLoss', loss_weight=1.0)``

    Shapes: student maps (N, C, H, W), teacher maps (N, C', H', W'); channels and sizes may
    differ. Void pixels count. With several processes each compares its own part of the batch.

    Args:
        reduction: 'paper' as above, or 'sum' without the division by b^2.
        mode: 'batch' or 'pixel'.
        stages: Taps to compare, summed over; the paper takes the last features.
        grid: Cells of mode='pixel', (height, width).
        **kwargs: `loss_weight`, `teacher_stages` and `teacher`, as for every `KDLoss`.

    Raises:
        ValueError: On an unknown reduction or mode.
        UserError: From mode='batch', when the batch holds a single image.

    Example:
        >>> student, teacher = torch.ones(2, 32, 8, 8), torch.ones(2, 32, 4, 4)
        >>> SimilarityPreservingLoss(mode='pixel')(student, teacher)
        tensor(0.)
    """

    reductions = ('paper', 'sum')
    whole_maps = True

    def __init__(
        self, mode: str = 'batch', grid: tuple[int, int] = (16, 16), **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.require(mode in ('batch', 'pixel'), f"mode={mode!r} is not 'batch' or 'pixel'")
        self.mode = mode
        self.grid = tuple(grid)

    def compare(self, student: Tensor, teacher: Tensor, target: Tensor | None) -> Tensor:
        """Compute the distance of one pair of maps, a scalar."""
        if self.mode == 'batch':
            if len(student) == 1:
                raise UserError(
                    "SimilarityPreservingLoss(mode='batch') compares the images of a batch, which "
                    "has one per process: use mode='pixel', a larger batch_size, or drop_last=True"
                )
            difference = batch_similarity(student) - batch_similarity(teacher)
        else:
            cells = list(map(min, self.grid, student.shape[2:], teacher.shape[2:]))
            ours, theirs = (place_similarity(average_pool(x, cells)) for x in (student, teacher))
            difference = ours - theirs
        squared = difference.square().sum(dim=(-2, -1)).mean()
        return squared / difference.shape[-1] ** 2 if self.reduction == 'paper' else squared


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

    `SimilarityPreservingLoss(mode='pixel')` is the same distance between the means over a grid of
    16 x 16 cells, and void pixels count in it. This loss compares the maxima over patches, by
    default a grid of 2 x 2.

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


def batch_similarity(x: Tensor) -> Tensor:
    """Return the similarities (N, N) of the images of a batch (N, C, H, W), rows of unit length.

    Example:
        >>> batch_similarity(torch.eye(2).reshape(2, 2, 1, 1))
        tensor([[1., 0.],
                [0., 1.]])
    """
    x = x.flatten(1)
    # Dividing by the maximum keeps the products finite, and the row norm cancels it.
    x = x / x.detach().abs().max().clamp(min=1e-12)
    return F.normalize(x @ x.T)


def place_similarity(x: Tensor) -> Tensor:
    """Return the cosine similarities (N, HW, HW) between the places of a map (N, C, H, W).

    Example:
        >>> place_similarity(torch.eye(2).reshape(1, 2, 1, 2))
        tensor([[[1., 0.],
                 [0., 1.]]])
    """
    x = x / x.detach().abs().amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-12)
    x = F.normalize(x.flatten(2), dim=1)
    return x.transpose(1, 2) @ x
