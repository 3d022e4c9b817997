"""Distillation of the frequencies of a map."""

import math
from collections.abc import Sequence
from typing import Any

from mmseg.registry import MODELS
from torch import Tensor

from mmseg_kd.distillation.grid.decomposition import band_factors, transform
from mmseg_kd.distillation.losses.bases import CentredLoss

# Energies below this share of the teacher's mean energy hardly count. On six images of CamVid, a
# fifth of the coefficients of a teacher's logits are above it.
SMALLEST_SHARE = 1e-2
# Added to squares, so that constant maps have a logarithm and a sign.
SMALLEST = 1e-12

MODES = ('mse', 'amplitude', 'log_energy', 'phase')


@MODELS.register_module()
class SobolevLoss(CentredLoss):
    r"""Distance of the cosine transforms of two maps, weighted by frequency.

    With :math:`a = \mathrm{DCT}(z^S)` and :math:`b = \mathrm{DCT}(z^T)` the orthonormal DCT-II of
    each channel, :math:`\lambda_k = 4 \sin^2(\pi k_y / 2H) + 4 \sin^2(\pi k_x / 2W)` the
    eigenvalues of the Laplacian on the pixel grid, and V the values (pixels times channels) that
    are not void:

    .. math:: L = \frac{1}{|V|} \sum_{n, c, k} \beta_{b(k)} \lambda_k^s \, d(a_{nck}, b_{nck})

    ============ =====================================================================
    mode         :math:`d(a, b)`
    ============ =====================================================================
    'mse'        :math:`(a - b)^2`
    'amplitude'  :math:`(|a| - |b|)^2`: how strong a frequency is
    'phase'      :math:`(\sigma(a) - \sigma(b))^2`, :math:`\sigma(a) = a / \sqrt{a^2 + e}`: where
                 its waves lie. e is 1 % of the mean of the image's :math:`b^2`
    'log_energy' see below
    ============ =====================================================================

    'mse' with s = 0 is the mean squared error of the maps, by Parseval's theorem, and with s = 1
    that of their differences along the edges between neighbouring pixels; s = -1 favours large
    regions. For s < 0 the mean of each map, of eigenvalue 0, is left out. The controls of a claim
    about frequencies are s = 0 and `PermutedSpectrumLoss`.

    'log_energy' compares the energy of the bands, wherever it is in the image:

    .. math:: L = \frac{1}{N C} \sum_{n, c, b} \beta_b \big(\log(E^S_{ncb} + e) -
              \log(E^T_{ncb} + e)\big)^2, \quad E_{ncb} = \sum_{k \in b} \lambda_k^s a_{nck}^2

    with e 1 % of the mean of the image's :math:`E^T`.

    The bands cut the frequency :math:`\sqrt{\lambda_k / 8}`, from 0 to 1, into equal parts.

    Void pixels are 0 in both maps before the transform. An image that is wholly void gives 0.
    Logits are centred over the classes first, because the softmax does not depend on their mean.

    Source: Sobolev norms on the pixel grid. Another loss weighted by frequency is that of Jiang et
    al., Focal Frequency Loss, ICCV 2021, https://arxiv.org/abs/2012.12821.

    Cost: one transform of the difference ('mse') or two, each two matrix products.

    Config: ``dict(type='SobolevLoss', exponent=1.0, loss_weight=1.0)``

    Shapes: student maps (N, C, H, W); teacher maps (N, C, H', W'), resized to (H, W) (bilinear,
    align_corners=False); target (N, H'', W'') or None, resized to (H, W) (nearest).

    Args:
        exponent: s, from -2 to 2.
        band_weights: beta, a factor for each band from low to high frequencies.
        mode: One of the table's names.
        reduction: 'mean' as above.
        **kwargs: `centre` (False for features), `ignore_index`, `stages`, `loss_weight`,
            `teacher_stages` and `teacher`, as for every `KDLoss`.

    Raises:
        ValueError: On an unknown mode, an exponent outside -2 to 2, weights that are negative or
            all 0, or different channel counts.

    Example:
        >>> student, teacher = torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4)
        >>> teacher[:, 0], teacher[:, 1] = 1.0, -1.0
        >>> SobolevLoss(exponent=0.0)(student, teacher)
        tensor(1.)
    """

    # Seed of a permutation of the frequencies.
    permutation: int | None = None

    def __init__(
        self,
        exponent: float = 1.0,
        band_weights: Sequence[float] = (1.0,),
        mode: str = 'mse',
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.require(mode in MODES, f'mode={mode!r} is not one of {MODES}')
        self.require(
            isinstance(exponent, int | float) and abs(exponent) <= 2,
            f'exponent={exponent!r} is not a number from -2 to 2',
        )
        self.require(
            isinstance(band_weights, Sequence)
            and all(isinstance(x, int | float) and 0 <= x < math.inf for x in band_weights)
            and sum(band_weights) > 0,
            f'band_weights={band_weights!r} is not a list of numbers from 0 with one above 0',
        )
        self.exponent, self.mode = exponent, mode
        self.band_weights = tuple(band_weights)

    def compare(self, student: Tensor, teacher: Tensor, target: Tensor | None) -> Tensor:
        """Compute the distance of one pair of maps, a scalar."""
        valid = self.valid(target, student)[:, None]
        student, teacher = (self.centred(x).masked_fill(~valid, 0) for x in (student, teacher))
        if self.mode == 'log_energy':
            return self._log_energy_distance(transform(student), transform(teacher))
        weights = self._factors(self.band_weights, student).sum(dim=0)
        count = (valid.sum() * student.shape[1]).clamp(min=1)
        return (weights * self._difference(student, teacher).square()).sum() / count

    def _factors(self, weights: tuple[float, ...], maps: Tensor) -> Tensor:
        settings = maps.dtype, maps.device, self.exponent, self.permutation
        return band_factors(maps.shape[2:], weights, *settings)

    def _difference(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the differences by frequency that are squared, (N, C, H, W)."""
        if self.mode == 'mse':
            return transform(student - teacher)
        a, b = transform(student), transform(teacher)
        if self.mode == 'amplitude':
            return a.abs() - b.abs()
        e = SMALLEST_SHARE * b.square().mean(dim=(1, 2, 3), keepdim=True) + SMALLEST
        return a * (a.square() + e).rsqrt() - b * (b.square() + e).rsqrt()

    def _log_energy_distance(self, a: Tensor, b: Tensor) -> Tensor:
        bands = self._factors((1.0,) * len(self.band_weights), a).flatten(1)
        ours, theirs = (bands @ x.square().flatten(2).transpose(1, 2) for x in (a, b))
        e = SMALLEST_SHARE * theirs.mean(dim=(1, 2), keepdim=True) + SMALLEST
        squared = ((ours + e).log() - (theirs + e).log()).square().mean(dim=(0, 2))
        return sum(beta * x for beta, x in zip(self.band_weights, squared, strict=True))


@MODELS.register_module()
class PermutedSpectrumLoss(SobolevLoss):
    """A control of `SobolevLoss`: its weights, assigned to the frequencies at random.

    A seed permutes the weights once over all frequencies but the mean, which keeps its own. If a
    loss works because it favours low or high frequencies, a student of this loss must be worse.

    Cost, shapes and errors are the same as for `SobolevLoss`.

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
