"""Distillation of the frequencies of a map."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_kd.distillation.grid.decomposition import basis_of, transform
from mmseg_kd.distillation.losses.grid.centred import CentredLoss


@MODELS.register_module()
class SobolevLoss(CentredLoss):
    r"""Squared error of the cosine transforms of two maps, weighted by frequency.

    With :math:`a = \mathrm{DCT}(z^S)` and :math:`b = \mathrm{DCT}(z^T)` the orthonormal DCT-II of
    each channel, :math:`\lambda_k = 4 \sin^2(\pi k_y / 2H) + 4 \sin^2(\pi k_x / 2W)` the
    eigenvalues of the Laplacian on the pixel grid, and V the values (pixels times channels) that
    are not void:

    .. math:: L = \frac{1}{|V|} \sum_{n, c, k} \lambda_k^s \, (a_{nck} - b_{nck})^2

    With s = 0 it is the mean squared error of the maps, by Parseval's theorem, and with s = 1
    that of their differences along the edges between neighbouring pixels; s = -1 favours large
    regions. For s < 0 the mean of each map, of eigenvalue 0, is left out. s = 0 and
    `PermutedSpectrumLoss` are the controls of a claim on frequencies.

    Void pixels are 0 in both maps before the transform. An image that is wholly void gives 0.
    Logits are centred over the classes first, because the softmax does not depend on their mean.

    Source: Sobolev norms on the pixel grid. Another loss weighted by frequency is that of Jiang et
    al., Focal Frequency Loss, ICCV 2021, https://arxiv.org/abs/2012.12821.

    Cost: one transform of the difference, two matrix products.

    Config: ``dict(type='SobolevLoss', exponent=1.0, loss_weight=1.0)``

    Shapes: student maps (N, C, H, W); teacher maps (N, C, H', W'), resized to (H, W) (bilinear,
    align_corners=False); target (N, H'', W'') or None, resized to (H, W) (nearest).

    Args:
        exponent: s, from -2 to 2.
        reduction: 'mean' as above.
        **kwargs: `centre` (False for features), `ignore_index`, `stages`, `loss_weight`,
            `teacher_stages` and `teacher`, as for every `KDLoss`.

    Raises:
        ValueError: On an exponent outside -2 to 2, or different channel counts.

    Example:
        >>> student, teacher = torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4)
        >>> teacher[:, 0], teacher[:, 1] = 1.0, -1.0
        >>> SobolevLoss(exponent=0.0)(student, teacher)
        tensor(1.)
    """

    # Seed of a permutation of the frequencies.
    permutation: int | None = None

    def __init__(self, exponent: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.require(
            isinstance(exponent, int | float) and abs(exponent) <= 2,
            f'exponent={exponent!r} is not a number from -2 to 2',
        )
        self.exponent = exponent

    def compare(self, student: Tensor, teacher: Tensor, target: Tensor | None) -> Tensor:
        """Compute the distance of one pair of maps, a scalar."""
        valid = self.valid(target, student)[:, None]
        difference = self.centred(student) - self.centred(teacher)
        difference = transform(difference.masked_fill(~valid, 0))
        weights = _weights(
            *student.shape[2:], self.exponent, self.permutation, student.dtype, student.device
        )
        count = (valid.sum() * student.shape[1]).clamp(min=1)
        return (weights * difference.square()).sum() / count


@MODELS.register_module()
class PermutedSpectrumLoss(SobolevLoss):
    """A `SobolevLoss` whose weights are dealt to the frequencies at random: a control.

    The weights are those of `SobolevLoss`, permuted once by a seed over all frequencies but the
    mean, which keeps its own. A claim that a loss works because it favours low or high
    frequencies needs the student of this loss to be worse.

    Cost, shapes and errors are those of `SobolevLoss`.

    Config: ``dict(type='PermutedSpectrumLoss', exponent=1.0, loss_weight=1.0)``

    Args:
        seed: Seed of the permutation, which also depends on the size of the map.
        **kwargs: As for `SobolevLoss`.

    Example:
        >>> student, teacher = torch.rand(2, 1, 3, 8, 8)
        >>> PermutedSpectrumLoss(exponent=0.0)(student, teacher) == SobolevLoss(exponent=0.0)(
        ...     student, teacher
        ... )
        tensor(True)
    """

    def __init__(self, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.require(isinstance(seed, int), f'seed={seed!r} is not a whole number')
        self.permutation = seed


@lru_cache(maxsize=32)
@torch.inference_mode(False)
def _weights(
    height: int,
    width: int,
    exponent: float,
    permutation: int | None,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """Return eigenvalue^exponent of each frequency (H, W)."""
    eigenvalues = basis_of(torch.empty(height, width, dtype=torch.float64)).eigenvalues.flatten()
    if permutation is not None:
        generator = torch.Generator().manual_seed(permutation)
        order = torch.randperm(height * width - 1, generator=generator)
        eigenvalues = torch.cat([eigenvalues[:1], eigenvalues[1:][order]])
    powers = torch.where((eigenvalues == 0) & (exponent < 0), 0, eigenvalues**exponent)
    return powers.view(height, width).to(device, dtype)
