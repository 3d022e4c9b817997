"""Distillation of the fine structure of maps: the detail bands of a Haar transform."""

from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_kd.distillation.base import KDLoss
from mmseg_kd.distillation.maps import standardised


@MODELS.register_module()
class HaarDetailLoss(KDLoss):
    r"""Compute the L1 distance between the detail bands of an orthonormal Haar transform.

    After Zhang et al., FreeKD: Knowledge Distillation via Semantic Frequency Prompt, CVPR 2024,
    https://arxiv.org/abs/2311.12079, without its prompts. :math:`\bar F` is a map whose
    channels have mean 0 and standard deviation 1 over the pixels of an image that are not void, and
    :math:`W_{jb}` the band b (horizontal, vertical, diagonal) of level j:

    .. math:: L = \sum_{j=1}^{J} \sum_b \frac{1}{C |B_j|} \sum_c \sum_{i \in B_j}
              \big| W_{jb} (\bar F^S_c - \bar F^T_c)_i \big|

    with :math:`B_j` the blocks of 2^j x 2^j pixels of the batch without a void pixel. A last row or
    column that has no partner is repeated. The means of the blocks of the last level are not
    compared.

    Config: ``dict(type='HaarDetailLoss', levels=3, loss_weight=1.0)``

    Shapes: student maps (N, C, H, W); teacher maps (N, C, H', W'), resized to (H, W) (bilinear,
    align_corners=False); target (N, H'', W'') or None, resized to (H, W) (nearest). Student
    and teacher have equal channels. Cost: a few sums and differences of the map.

    Args:
        levels: J, at least 1.
        reduction: 'mean' as above.
        ignore_index: Label of void pixels; None keeps every pixel.
        stages: Taps to compare, summed over; the logits by default.
        **kwargs: `loss_weight`, `teacher_stages` and `teacher`, as for every `KDLoss`.

    Raises:
        ValueError: On less than one level, or different channel counts.

    Example:
        >>> student = torch.randn(2, 12, 8, 8)
        >>> HaarDetailLoss()(student, 2 * student + 1) < 1e-5
        tensor(True)
    """

    default_stages = 'logits'
    equal_channels = True

    def __init__(self, levels: int = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.require(levels >= 1, f'levels={levels!r} must be at least 1')
        self.levels = levels

    def compare(self, student: Tensor, teacher: Tensor, target: Tensor | None) -> Tensor:
        """Compute the distance of one pair of maps, a scalar."""
        valid = self.valid(target, student)[:, None].to(student.dtype)
        # The transform is linear: the bands of the difference are the differences of the bands.
        count = valid.sum(dim=(2, 3), keepdim=True).clamp(min=1)
        ours, theirs = (standardised(x, valid, (2, 3), count) for x in (student, teacher))
        low = ours - theirs
        total = low.new_zeros(())
        for _ in range(self.levels):
            low, *details = haar(low)
            valid = torch.stack(corners(valid)).amin(dim=0)
            count = (valid.sum() * low.shape[1]).clamp(min=1)
            total = total + sum((valid * band).abs().sum() for band in details) / count
        return total


def haar(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Do one level of the orthonormal Haar transform of maps (N, C, H, W).

    Returns:
        The low band and the differences along the width, the height and the diagonal, each of half
        the height and width; an odd last row or column is repeated.

    Example:
        >>> [float(band) for band in haar(torch.tensor([[[[1.0, 3.0], [1.0, 3.0]]]]))]
        [4.0, -2.0, 0.0, 0.0]
    """
    a, b, c, d = corners(x / 2)
    sums, differences = (a + b, c + d), (a - b, c - d)
    low, width = sums[0] + sums[1], differences[0] + differences[1]
    return low, width, sums[0] - sums[1], differences[0] - differences[1]


def corners(x: Tensor) -> list[Tensor]:
    """Return the four pixels of each block of 2x2 of a map (N, C, H, W), row by row.

    Example:
        >>> [int(each) for each in corners(torch.arange(4).reshape(1, 1, 2, 2))]
        [0, 1, 2, 3]
    """
    # By concatenation: on a GPU the backward pass of torch's padding adds in no fixed order.
    for dim in (2, 3):
        if x.shape[dim] % 2:
            x = torch.cat([x, x.narrow(dim, x.shape[dim] - 1, 1)], dim=dim)
    return [x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)]
