"""Attention transfer."""

from typing import Any

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_kd.distillation.base import KDLoss
from mmseg_kd.distillation.maps import resize_map

# The smallest divisor.
SMALLEST = 1e-12


@MODELS.register_module()
class AttentionTransferLoss(KDLoss):
    r"""Distance between normalised spatial attention maps.

    Zagoruyko and Komodakis, Paying More Attention to Attention, ICLR 2017,
    https://arxiv.org/abs/1612.03928:

    .. math:: Q(F) = \mathrm{vec}\Big(\sum_c |F_c|^p\Big), \quad
              D = \frac{Q_S}{\lVert Q_S \rVert_2} - \frac{Q_T}{\lVert Q_T \rVert_2}

    Reductions, each a mean over the batch and a sum over the stages:

    ============== ====================================== ==========================
    'paper'        :math:`\lVert D \rVert_2` (eq. 2)      0 to sqrt(2)
    'sum'          :math:`\lVert D \rVert_2^2`            0 to 2
    'authors_code' :math:`\lVert D \rVert_2^2 / (H W)`    H W times smaller than 'sum'
    ============== ====================================== ==========================

    A weight that suits one of them does not suit another.

    Config: ``dict(type='AttentionTransferLoss', loss_weight=1.0)``

    Shapes: student maps (N, C, H, W); teacher maps (N, C', H', W'), whose attention maps are
    resized to (H, W) (bilinear, align_corners=False). Channels may differ. Void pixels count,
    because an attention map is normalised over the whole image.

    Args:
        p: Exponent of the activations, at least 1.
        reduction: One of the table's names.
        stages: Taps to compare. The default are the outputs of a MiT backbone's stages before their
            last LayerNorm; after it the sum over channels is nearly the same at every pixel
            (measured in `docs/results.md`). On other backbones they are the stages' outputs.
        **kwargs: `loss_weight`, `teacher_stages` and `teacher`, as for every `KDLoss`.

    Raises:
        ValueError: On an unknown reduction, or p below 1.

    Example:
        >>> student, teacher = torch.ones(2, 32, 8, 8), torch.ones(2, 64, 8, 8)
        >>> AttentionTransferLoss(stages='stage4')(student, teacher)
        tensor(0.)
    """

    reductions = ('paper', 'authors_code', 'sum')
    default_stages = tuple(f'stage{i}.pre_norm' for i in (1, 2, 3, 4))
    whole_maps = True

    def __init__(self, p: float = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # With a smaller p the gradient is infinite at activations of 0.
        self.require(p >= 1, f'p={p} must be at least 1')
        self.p = p

    def compare(self, student: Tensor, teacher: Tensor, target: Tensor | None) -> Tensor:
        """Compute the distance of one pair of maps, a scalar."""
        size = student.shape[2:]
        maps = [resize_map(_norm_map(x, self.p), size).flatten(1) for x in (student, teacher)]
        # One tensor, so that every step below runs once for both.
        maps = F.normalize(torch.cat(maps))
        difference = maps[: len(student)] - maps[len(student) :]
        if self.reduction == 'paper':
            return difference.norm(dim=1).mean()
        squared = difference.square().sum(dim=1).mean()
        return squared / difference.shape[1] if self.reduction == 'authors_code' else squared


def _norm_map(x: Tensor, p: float) -> Tensor:
    """Return Q(F) times a factor for each image, which keeps it finite for all p, (N, 1, H, W)."""
    if p > 2:
        # The p-th power of a large value would overflow.
        x = x / x.detach().abs().amax(dim=(1, 2, 3), keepdim=True).clamp(min=SMALLEST)
    norms = torch.linalg.vector_norm(x, p, dim=1, keepdim=True)
    return (norms / norms.detach().amax(dim=(2, 3), keepdim=True).clamp(min=SMALLEST)).pow(p)
