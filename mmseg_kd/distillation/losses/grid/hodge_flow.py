"""Distillation of flows along the pixel grid, by the parts of their Hodge decomposition."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_kd.distillation.cached_tensors import cached
from mmseg_kd.distillation.grid.calculus import Flow, pair_flow, valid_edges
from mmseg_kd.distillation.grid.decomposition import Split, band_factors, spectrum_of, split_masked
from mmseg_kd.distillation.losses.bases import ClassLoss
from mmseg_kd.distillation.losses.features.fitnet import adapted, own_random_stream
from mmseg_kd.distillation.maps import standardised

# Added to the teacher's mean energy per edge, which is 0 in an image of one class.
SMALLEST_ENERGY = 1e-3


@MODELS.register_module()
class EdgeFlowLoss(ClassLoss):
    r"""Distance between the flows of student and teacher along the edges of the pixel grid.

    The flow between two channels a and b of a map u, along the edge from pixel i to pixel j, is
    :math:`w_{ab}(i \to j) = u_a(i) u_b(j) - u_b(i) u_a(j)`. It is large where b takes over from a.
    With P pairs of channels and E the edges between pixels that are not void,

    .. math:: L = \frac{1}{N} \sum_n \frac{\sum_{ab} \sum_{e \in E_n} (w^S_{ab} - w^T_{ab})^2}
              {\sum_{ab} \sum_{e \in E_n} (w^T_{ab})^2 + 10^{-3} |E_n|}

    This is the control of `HodgeFlowLoss`, whose parts sum to it: at equal weights the two losses
    are the same number.

    u are the class probabilities of the logits or, where `student_channels` is given, features in
    `dims` common channels: a fixed orthonormal projection of the teacher's and a trained 1x1
    convolution of the student's, each standardised over the places of an image.

    Config: ``dict(type='EdgeFlowLoss')``

    Shapes: student map (N, C, H, W); teacher map (N, C', H', W'), resized to (H, W) (bilinear,
    align_corners=False); target (N, H'', W'') or None, resized to (H, W) (nearest). Memory: about
    ten maps for each pair of channels.

    Args:
        flows: Number of flows. By default there is one for each pair of channels, C (C - 1) / 2;
            otherwise the channels are first projected onto 2 * flows orthonormal directions, drawn
            with `seed`, and paired one to one. At most half of the channels.
        student_channels: C of the features; None for class probabilities.
        teacher_channels: C' of the features.
        dims: Common channels of the features, from 2 to C'.
        seed: Seed of the projections and of the convolution's initial weights.
        temperature: T of the class probabilities softmax(z / T).
        ignore_index: Label of void pixels; None keeps every pixel.
        stages: The tap: the logits, or features.
        **kwargs: `loss_weight`, `teacher_stages` and `teacher`, as for every `KDLoss`.

    Raises:
        ValueError: On temperature <= 0, several taps, channels that do not fit, or more flows than
            half of the channels.

    Example:
        >>> student, teacher = torch.zeros(2, 3, 8, 8), torch.ones(2, 3, 4, 4)
        >>> EdgeFlowLoss()(student, teacher)
        tensor(0.)
    """

    reductions = ('relative',)

    def __init__(
        self,
        flows: int | None = None,
        student_channels: int | None = None,
        teacher_channels: int | None = None,
        dims: int = 12,
        seed: int = 0,
        temperature: float | dict = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(temperature=temperature, **kwargs)
        self.require(
            (student_channels is None) == (teacher_channels is None),
            'give both student_channels and teacher_channels, for features, or neither',
        )
        self.flows, self.seed = flows, seed
        self.of_classes = self.equal_channels = student_channels is None
        self.zero_at_equality = self.zero_at_equality and self.of_classes
        if student_channels is None:
            self.require(dims == 12, f'dims={dims} has no effect without student_channels')
            return
        self.require(
            self.temperature == 1, f'{temperature=} has no effect on features; leave it out'
        )
        self.require(
            2 <= dims <= teacher_channels,
            f'dims={dims} is not from 2 to the {teacher_channels} channels of the teacher',
        )
        with own_random_stream(seed):
            self.adapter = nn.Conv2d(student_channels, dims, kernel_size=1, device='cpu')
        projection = orthonormal(dims, teacher_channels, seed)
        self.register_buffer('projection', projection, persistent=False)

    def compare(self, student: Tensor, teacher: Tensor, target: Tensor | None) -> Tensor:
        """Compute the distance of one pair of maps, a scalar."""
        valid = self.valid(target, student)
        edges = Flow(*(mask[:, None] for mask in valid_edges(valid)))
        flows = [self._flow(u) * edges for u in self._maps(student, teacher, valid)]
        number = sum(mask.sum(dim=(1, 2, 3)) for mask in edges).clamp(min=1).to(student.dtype)
        scale = flows[1].energy().sum(dim=1) + SMALLEST_ENERGY * number
        return (self.energy(flows[0] - flows[1], valid).sum(dim=1) / scale).mean()

    def energy(self, difference: Flow, valid: Tensor) -> Tensor:
        """Return the energy of the difference of two flows, as the loss counts it.

        Args:
            difference: Flows of maps (N, P, H, W), 0 at void pixels.
            valid: The pixels (N, H, W) that are not void.

        Returns:
            A number for each flow, (N, P).
        """
        return difference.energy()

    def _maps(self, student: Tensor, teacher: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Return class probabilities, or standardised features of equal channels."""
        if self.of_classes:
            temperature = self.current_temperature()
            return tuple((x / temperature).softmax(dim=1) for x in (student, teacher))
        found = student.shape[1], teacher.shape[1]
        channels = self.adapter.in_channels, self.projection.shape[1]
        self.require(found == channels, f'student_ and teacher_channels={channels}, not {found}')
        features = adapted(self.adapter, student), mixed(self.projection, teacher)
        places = valid[:, None].to(student.dtype)
        count = places.sum(dim=(2, 3), keepdim=True).clamp(min=1)
        return tuple(standardised(x, places, (2, 3), count) for x in features)

    def _flow(self, maps: Tensor) -> Flow:
        first, second = directions(maps.shape[1], self.flows, self.seed, maps.dtype, maps.device)
        self.require(
            len(first) > 0,
            f'flows={self.flows} is not from 1 to half of the {maps.shape[1]} channels of the map',
        )
        return pair_flow(mixed(first, maps), mixed(second, maps))


@MODELS.register_module()
class HodgeFlowLoss(EdgeFlowLoss):
    r"""Distance between the parts of two flows: the gradient, curl and harmonic part.

    `EdgeFlowLoss` with its numerator split by the Hodge decomposition of the difference
    :math:`\delta = w^S - w^T` into orthogonal parts, each with a weight:
    :math:`\lambda_g \lVert \delta_g \rVert^2 + \lambda_c \lVert \delta_c \rVert^2 +
    \lambda_h \lVert \delta_h \rVert^2`. With u class probabilities, the gradient part is where one
    class takes over from another, and the curl part where three or more classes meet
    (docs/hodge.md). With two classes and no void pixels the curl part is 0.

    Edges at void pixels count as 0, and the split is that of the full grid. If 'harmonic' is among
    the components, the grid has holes where the labels are void. This needs about 40 times as many
    transforms.

    Config: ``dict(type='HodgeFlowLoss', components=dict(gradient=1.0, curl=4.0))``

    Args:
        components: Parts that count: names, or weights by name.
        band_weights: Factors of equal bands of the frequency, from low to high. The frequency is
            the square root of the Laplacian's eigenvalue over its maximum, from 0 to 1.
        **kwargs: As for `EdgeFlowLoss`, with the same shapes and errors.

    Raises:
        ValueError: On an unknown component, a negative weight, or 'harmonic' without void pixels
            (`ignore_index=None`) or with several bands.

    Example:
        >>> student, teacher = torch.zeros(2, 3, 8, 8), torch.ones(2, 3, 4, 4)
        >>> HodgeFlowLoss(components=['curl'])(student, teacher)
        tensor(0.)
    """

    def __init__(
        self,
        components: Sequence[str] | Mapping[str, float] = ('gradient', 'curl'),
        band_weights: Sequence[float] = (1.0,),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        weights = components if isinstance(components, Mapping) else dict.fromkeys(components, 1.0)
        self.require(
            len(weights) > 0 and set(weights) <= set(Split._fields),
            f'components={components!r}: write a list, or weights by name, of {Split._fields}',
        )
        self.require(
            len(band_weights) > 0 and min([*weights.values(), *band_weights]) >= 0,
            f'components={components!r}, band_weights={band_weights!r}: missing or negative weight',
        )
        self.components, self.band_weights = dict(weights), tuple(band_weights)
        self.require(
            'harmonic' not in weights or (self.ignore_index is not None and len(band_weights) == 1),
            'a full grid has no harmonic part, and that of a grid with holes has no bands: '
            'leave out harmonic, or set ignore_index and a single band',
        )

    def energy(self, difference: Flow, valid: Tensor) -> Tensor:
        """Return the weighted energy of the parts, (N, P); arguments as in `EdgeFlowLoss`."""
        if 'harmonic' in self.components:
            parts = split_masked(difference, valid[:, None])
            # A zero with a gradient, so that the gradient of a part's energy is twice the part, as
            # for every orthogonal projection.
            zero = Flow(*(x.detach() - x for x in difference))
            parts = [w * (getattr(parts, x) - zero).energy() for x, w in self.components.items()]
            return self.band_weights[0] * sum(parts)
        size, like = valid.shape[1:], difference.x
        parts = spectrum_of(difference, self.angle(size, like))
        factors = band_factors(size, self.band_weights, like.dtype, like.device).sum(dim=0)
        return sum(
            w * (factors * getattr(parts, name).square()).sum(dim=(-2, -1))
            for name, w in self.components.items()
        )

    def angle(self, size: Sequence[int], like: Tensor) -> Tensor | None:
        """Return the angles by frequency of another split; None for gradient and curl."""
        return None


@MODELS.register_module()
class RandomSplitFlowLoss(HodgeFlowLoss):
    """A control of `HodgeFlowLoss`: a random orthogonal split instead of gradient and curl.

    It shows whether the curl matters or any other subspace would do. The two subspaces keep their
    ranks and their frequencies: at each frequency a random angle, drawn with `seed`, replaces the
    one that separates gradient from curl.

    Config: ``dict(type='RandomSplitFlowLoss', components=['curl'])``

    It takes the arguments of `HodgeFlowLoss`, without the harmonic part.

    Raises:
        ValueError: As `HodgeFlowLoss`, and on 'harmonic'.

    Example:
        >>> student, teacher = torch.zeros(2, 3, 8, 8), torch.ones(2, 3, 4, 4)
        >>> RandomSplitFlowLoss(components=['curl'])(student, teacher)
        tensor(0.)
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.require('harmonic' not in self.components, 'only the full grid is split at random')

    def angle(self, size: Sequence[int], like: Tensor) -> Tensor:
        """Return random angles by frequency, (H, W)."""
        return _random_angles(*size, self.seed, like.dtype, like.device)


@cached(maxsize=32)
def directions(
    channels: int, flows: int | None, seed: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return the channels between which flows run, as two matrices (P, C).

    Args:
        channels: C.
        flows: P orthonormal pairs of directions, drawn with `seed`; None for every pair of
            channels, P = C (C - 1) / 2. Empty matrices if C is below 2 P.
        seed: Seed of the directions.
        dtype: Of the matrices.
        device: Of the matrices.
    """
    if flows is None:
        a, b = torch.triu_indices(channels, channels, offset=1)
        every = torch.eye(channels)
        pairs = every[a], every[b]
    elif 0 < 2 * flows <= channels:
        pairs = orthonormal(2 * flows, channels, seed).chunk(2)
    else:
        pairs = torch.empty(2, 0, channels)
    return tuple(x.to(device, dtype) for x in pairs)


def orthonormal(rows: int, channels: int, seed: int) -> Tensor:
    """Draw orthonormal rows, (rows, channels)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(channels, rows, generator=generator)).Q.t().contiguous()


def mixed(weights: Tensor, maps: Tensor) -> Tensor:
    """Apply a matrix (P, C) to the channels of maps (N, C, H, W)."""
    return (weights.to(maps.dtype) @ maps.flatten(2)).unflatten(2, maps.shape[2:])


@cached(maxsize=32)
def _random_angles(
    height: int, width: int, seed: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(height, width, generator=generator) * torch.pi).to(device, dtype)
