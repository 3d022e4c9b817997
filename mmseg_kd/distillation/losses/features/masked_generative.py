"""Distillation of features that the student generates from a masked map."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_kd.distillation.base import LARGEST, Stages
from mmseg_kd.distillation.losses.features.fitnet import FitNetLoss, own_random_stream
from mmseg_kd.distillation.maps import average_pool, mean_of_valid, resize_map


@MODELS.register_module()
class MaskedGenerativeLoss(FitNetLoss):
    r"""Compute the squared distance of the teacher's features to those generated from masked ones.

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

    The masks come from torch's random stream, like dropout: a resumed run draws the same masks
    as an uninterrupted one, and every replay of a CUDA graph draws new ones.

    Config: ``dict(type='MaskedGenerativeLoss', student_channels=256, teacher_channels=512)``

    Shapes: student map (N, C, H, W); teacher map (N, C', H', W'), resized to (H, W) (bilinear,
    align_corners=False); target (N, H'', W'') or None, resized to the grid (nearest). Cost: the
    two 3x3 convolutions multiply 18 C'^2 times for each place of the grid.

    Args:
        student_channels: C.
        teacher_channels: C'.
        mask_ratio: Share of places that are masked, from 0 to below 1.
        grid: Both maps are averaged over at most this many cells (height, width); None compares
            whole maps, as the authors do.
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

    def distance(self, student: Stages, teacher: Stages, target: Tensor | None) -> Tensor:
        """Average the maps to the grid and compute `compare` of the adapted student."""
        size = student[0].shape[2:]
        cells = self.cells(size)
        teacher = [average_pool(resize_map(x, size), cells) for x in teacher]
        return super().distance([average_pool(x, cells) for x in student], teacher, target)

    def compare(self, student: Tensor, teacher: Tensor, target: Tensor | None) -> Tensor:
        """Compute the loss of the adapted student's map and the teacher's, both on the grid."""
        return self.between(self.generate(student), teacher, self.valid(target, student))

    def generate(self, x: Tensor) -> Tensor:
        """Mask a map (N, C', H, W) and generate a whole one from the places that are left."""
        n, _, height, width = x.shape
        kept = torch.rand(n, 1, height, width, device=x.device) >= self.mask_ratio
        first, second = self.generator
        return _convolved(second, _convolved(first, x * kept).relu())

    def between(self, generated: Tensor, teacher: Tensor, valid: Tensor) -> Tensor:
        """Compute the loss of a generated map and the teacher's, both (N, C', H, W), a scalar."""
        # Channels first: the sum over all elements would leave float32 earlier.
        squared = (generated - teacher).square().mean(dim=1)
        if self.reduction == 'sum_per_image':
            return (squared * valid).sum() / len(squared) * teacher.shape[1]
        return mean_of_valid(squared, valid)


@MODELS.register_module()
class AffinityContrastLoss(MaskedGenerativeLoss):
    r"""Add to `MaskedGenerativeLoss` a contrast of places and channel groups within patches.

    Fan et al., Augmentation-free Dense Contrastive Knowledge Distillation for Efficient Semantic
    Segmentation (Af-DCD), NeurIPS 2023, https://arxiv.org/abs/2312.04168. The generated map
    :math:`G(M \cdot r(F^S))` and the teacher's are cut into patches of p x p places, and the
    channels of each place into `groups`. Let u be the student's group m at place a and v(b, k)
    the teacher's group k at place b of the patch:

    .. math:: s(u, v) = -\lVert u - v \rVert_1 / \tau, \quad
              \ell_{am} = -\log \frac{e^{s(u, v(a, m))}}
              {e^{s(u, v(a, m))} + \sum_{b, k \ne m} e^{s(u, v(b, k))}}, \quad
              L = L_\mathrm{MGD} + \lambda \, L_\mathrm{contrast}

    =============== ====================================================================
    'mean'          :math:`L_\mathrm{contrast}` is the mean of :math:`\ell`
    'sum_per_image' the sum of :math:`\ell` over N H W, as in the authors' code
    =============== ====================================================================

    Void places have no :math:`\ell` and are left out of the sum. The authors report a low gain on
    Cityscapes without the first term.

    For CamVid the authors weigh the two terms of 'sum_per_image' by 8e-6 and 0.01:
    ``reduction='sum_per_image', loss_weight=8e-6, contrast_weight=1250, grid=None``. With 'mean'
    the same weights are 33 and 0.16 for their map of 2,048 channels and 45 x 45 places. The ratio
    0.005 is the default of `contrast_weight`.

    Config: ``dict(type='AffinityContrastLoss', student_channels=256, teacher_channels=512)``

    Shapes: those of `MaskedGenerativeLoss`; the grid is rounded down to whole patches. Cost: that
    of `MaskedGenerativeLoss`, and p^2 groups C' differences and (p groups)^2 similarities for each
    place.

    Args:
        student_channels: C.
        teacher_channels: C', a multiple of `groups`.
        groups: Groups of channels.
        patch: Side p of a patch in cells of the grid.
        tau: Temperature of the contrast, above 0.
        contrast_weight: Factor :math:`\lambda`.
        **kwargs: `mask_ratio`, `grid`, `reduction`, `ignore_index`, `stages` and `seed`, as for
            `MaskedGenerativeLoss`; `loss_weight`, `teacher_stages` and `teacher`, as for every
            `KDLoss`.

    Raises:
        ValueError: As `MaskedGenerativeLoss`, and on channels that the groups do not divide, or
            groups, patch or tau that are not above 0.
        UserError: When the tap has other channels than the config says.

    Example:
        >>> loss = AffinityContrastLoss(student_channels=32, teacher_channels=64)
        >>> student, teacher = torch.ones(2, 32, 8, 8), torch.ones(2, 64, 8, 8)
        >>> loss(student, teacher).requires_grad
        True
    """

    def __init__(
        self,
        student_channels: int,
        teacher_channels: int,
        groups: int = 16,
        patch: int = 4,
        tau: float = 0.07,
        contrast_weight: float = 0.005,
        **kwargs: Any,
    ) -> None:
        super().__init__(student_channels, teacher_channels, **kwargs)
        self.require(min(groups, patch, tau) > 0, f'{groups=}, {patch=}, {tau=}: not above 0')
        self.require(
            self.teacher_channels[0] % groups == 0, f'{groups=} does not divide {teacher_channels=}'
        )
        self.require(contrast_weight >= 0, f'contrast_weight={contrast_weight!r} is negative')
        self.groups, self.patch, self.tau = groups, patch, tau
        self.contrast_weight = contrast_weight

    def cells(self, size: Sequence[int]) -> list[int]:
        """Return the grid (height, width) of a map of the given size: whole patches."""
        return [max(side // self.patch, 1) * self.patch for side in super().cells(size)]

    def between(self, generated: Tensor, teacher: Tensor, valid: Tensor) -> Tensor:
        """Compute the loss of a generated map and the teacher's, both (N, C', H, W), a scalar."""
        loss = super().between(generated, teacher, valid)
        return loss + self.contrast_weight * self.contrast(generated, teacher, valid)

    def contrast(self, student: Tensor, teacher: Tensor, valid: Tensor) -> Tensor:
        """Reduce the contrast of two maps (N, C', H, W) of whole patches to a scalar."""
        pairs = zip(self._patches(student), self._patches(teacher), strict=True)
        # One image at a time saves memory: on a GPU the backward pass keeps a difference for each
        # pair of groups and each channel.
        distances = torch.stack([torch.cdist(ours, theirs, p=1) for ours, theirs in pairs])
        valid = valid[:, None].to(student.dtype).expand(-1, self.groups, -1, -1)
        places = self._patches(valid)[..., 0]
        own = torch.eye(distances.shape[-1], dtype=torch.bool, device=student.device)
        group = torch.arange(distances.shape[-1], device=student.device) % self.groups
        other = (group != group[:, None]) & (places[:, :, None] > 0)
        similarity = -distances / self.tau
        among = similarity.masked_fill(~(own | other), torch.finfo(student.dtype).min)
        terms = places * (among.logsumexp(dim=-1) - similarity.diagonal(dim1=-2, dim2=-1))
        if self.reduction == 'sum_per_image':
            return terms.sum() / valid[:, 0].numel()
        return terms.sum() / places.sum().clamp(min=1)

    def _patches(self, x: Tensor) -> Tensor:
        """Cut maps (N, groups * c, H, W) into vectors (N, patches, patch^2 * groups, c)."""
        side = self.patch
        x = x.unflatten(3, (-1, side)).unflatten(2, (-1, side)).unflatten(1, (self.groups, -1))
        # From (N, groups, c, rows, side, columns, side).
        return x.permute(0, 3, 5, 4, 6, 1, 2).flatten(3, 5).flatten(1, 2)


def _convolved(layer: nn.Conv2d, x: Tensor) -> Tensor:
    weight, bias = layer.weight.to(x.dtype), layer.bias.to(x.dtype)
    return F.conv2d(x, weight, bias, padding=1).clamp(-LARGEST, LARGEST)
