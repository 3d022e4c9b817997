"""Distillation of features that the student has to complete from a masked map."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_kd.distillation.base import LARGEST
from mmseg_kd.distillation.losses.features.fitnet import FitNetLoss, own_random_stream
from mmseg_kd.distillation.losses.features.pooling import average_pool
from mmseg_kd.distillation.maps import mean_of_valid, resize_map


@MODELS.register_module()
class MaskedGenerativeLoss(FitNetLoss):
    r"""Compute the squared distance to the teacher's features of a map generated from masked ones.

    Yang et al., Masked Generative Distillation (MGD), ECCV 2022,
    https://arxiv.org/abs/2205.01529. With r the 1x1 convolution of `FitNetLoss`, M a random mask
    that keeps a place with probability 1 - `mask_ratio`, and G a 3x3 convolution, ReLU and another
    3x3 convolution, r and G trained with the student, and V the places that are not void:

    .. math:: D_i = \lVert G(M \cdot r(F^S))_i - F^T_i \rVert^2

    =============== ==============================================================
    'mean'          :math:`\frac{1}{|V| C'} \sum_{i \in V} D_i`
    'sum_per_image' :math:`\frac{1}{N} \sum_{i \in V} D_i`, as in the authors' code
    =============== ==============================================================

    The authors' weight for segmentation, 2e-5, is for 'sum_per_image' of the whole map
    (``grid=None``). The loss is not 0 where student equals teacher.

    The masks come from torch's random stream, like dropout: a resumed run draws those of an
    uninterrupted one, and each step that a CUDA graph replays draws a new one.

    Config: ``dict(type='MaskedGenerativeLoss', student_channels=256, teacher_channels=512)``

    Shapes: student map (N, C, H, W); teacher map (N, C', H', W'), resized to (H, W) (bilinear,
    align_corners=False); target (N, H'', W'') or None, resized to the grid (nearest). Cost: the
    two 3x3 convolutions multiply 18 C'^2 times for each place of the grid.

    Args:
        student_channels: C.
        teacher_channels: C'.
        mask_ratio: Share of places that are masked, from 0 to below 1.
        grid: Both maps are averaged to at most this many cells (height, width); None takes them
            whole, as the authors do.
        reduction: One of the table's names.
        ignore_index: Label of void pixels, which are left out; None keeps every pixel.
        stages: The tap.
        seed: Seed of the initial weights.
        **kwargs: `loss_weight`, `teacher_stages` and `teacher`, as for every `KDLoss`.

    Raises:
        ValueError: On an unknown reduction, a ratio outside [0, 1), several taps, or channels that
            are not above 0.
        UserError: When the tap has other channels than the config says.

    Example:
        >>> loss = MaskedGenerativeLoss(student_channels=32, teacher_channels=64)
        >>> student, teacher = torch.ones(2, 32, 8, 8), torch.ones(2, 64, 8, 8)
        >>> loss(student, teacher).requires_grad
        True
    """

    reductions = ('mean', 'sum_per_image')
    one_tap = True
    zero_at_equality = False

    def __init__(
        self,
        student_channels: int,
        teacher_channels: int,
        mask_ratio: float = 0.75,
        grid: Sequence[int] | None = (16, 16),
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(student_channels, teacher_channels, seed=seed, **kwargs)
        self.require(0 <= mask_ratio < 1, f'mask_ratio={mask_ratio!r} is not from 0 to below 1')
        self.mask_ratio = mask_ratio
        self.grid = None if grid is None else tuple(grid)
        channels = self.teacher_channels[0]
        with own_random_stream(seed + 1):
            self.generator = nn.ModuleList(
                nn.Conv2d(channels, channels, 3, padding=1, device='cpu') for _ in range(2)
            )

    def cells(self, size: Sequence[int]) -> list[int]:
        """Return the grid (height, width) of a map of the given size."""
        return list(map(min, size, self.grid or size))

    def distance(
        self, student: list[Tensor], teacher: list[Tensor], target: Tensor | None
    ) -> Tensor:
        """Average the maps to the grid and compute `compare` of the adapted student."""
        size = student[0].shape[2:]
        cells = self.cells(size)
        teacher = [average_pool(resize_map(x, size), cells) for x in teacher]
        return super().distance([average_pool(x, cells) for x in student], teacher, target)

    def compare(self, student: Tensor, teacher: Tensor, target: Tensor | None) -> Tensor:
        """Compute the loss of the adapted student's map and the teacher's, both on the grid."""
        valid = self.valid(target, student)
        return self.squared_distance(self.generate(student), teacher, valid)

    def generate(self, x: Tensor) -> Tensor:
        """Mask a map (N, C', H, W) and generate the masked places from the others."""
        n, _, height, width = x.shape
        kept = torch.rand(n, 1, height, width, device=x.device) >= self.mask_ratio
        first, second = self.generator
        return _convolved(second, _convolved(first, x * kept).relu())

    def squared_distance(self, generated: Tensor, teacher: Tensor, valid: Tensor) -> Tensor:
        """Reduce the squared distance of two maps (N, C', H, W) to a scalar."""
        # Channels first: the sum over all elements would leave float32 earlier.
        squared = (generated - teacher).square().mean(dim=1)
        if self.reduction == 'sum_per_image':
            return (squared * valid).sum() / len(squared) * teacher.shape[1]
        return mean_of_valid(squared, valid)


def _convolved(layer: nn.Conv2d, x: Tensor) -> Tensor:
    weight, bias = layer.weight.to(x.dtype), layer.bias.to(x.dtype)
    return F.conv2d(x, weight, bias, padding=1).clamp(-LARGEST, LARGEST)
