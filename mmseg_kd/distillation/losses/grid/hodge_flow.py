"""Distillation of flows along the pixel grid, by the parts of their Hodge decomposition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_kd.distillation.grid.calculus import Flow, pair_flow, valid_edges
from mmseg_kd.distillation.grid.decomposition import spectrum_of, split_masked
from mmseg_kd.distillation.losses.logits.temperature import ClassLoss

COMPONENTS = ('gradient', 'curl', 'harmonic')
# Added to the mean energy of an edge: an image of one class has no flow to be relative to.
FLOOR = 1e-3


@MODELS.register_module()
class EdgeFlowLoss(ClassLoss):
    r"""Distance between the flows of student and teacher along the edges of the pixel grid.

    The flow between two classes a and b, along the edge from pixel i to pixel j, is
    :math:`w_{ab}(i \to j) = p_a(i) p_b(j) - p_b(i) p_a(j)` with
    :math:`p = \mathrm{softmax}_k(z / T)`. It is large where b takes over from a. With P pairs of
    classes and E the edges between pixels that are not void,

    .. math:: L = \frac{1}{N} \sum_n \frac{\sum_{ab} \sum_{e \in E_n} (w^S_{ab} - w^T_{ab})^2}
              {\sum_{ab} \sum_{e \in E_n} (w^T_{ab})^2 + 10^{-3} |E_n|}

    This is the control of `HodgeFlowLoss`, whose parts sum to it: at equal weights the two losses
    are the same number.

    Config: ``dict(type='EdgeFlowLoss')``

    Shapes: student map (N, K, H, W), K = 1 being the logit of class 1 of two; teacher map
    (N, K, H', W'), resized to (H, W) (bilinear, align_corners=False); target (N, H'', W'') or None,
    resized to (H, W) (nearest). Memory: about ten maps for each pair of classes.

    Args:
        flows: Number of flows. By default there is one for each pair of classes, K (K - 1) / 2;
            otherwise the classes are first projected onto 2 * flows orthonormal directions, drawn
            with `seed`, and paired one to one. At most half of the classes.
        seed: Seed of the projections.
        temperature: T, above 0: a number or a schedule.
        ignore_index: Label of void pixels; None keeps every pixel.
        stages: The tap, the logits.
        **kwargs: `loss_weight`, `teacher_stages` and `teacher`, as for every `KDLoss`.

    Raises:
        ValueError: On temperature <= 0, several taps, different channel counts, or more flows than
            half of the classes.

    Example:
        >>> student, teacher = torch.zeros(2, 3, 8, 8), torch.ones(2, 3, 4, 4)
        >>> EdgeFlowLoss()(student, teacher)
        tensor(0.)
    """

    reductions = ('relative',)

    def __init__(
        self,
        flows: int | None = None,
        seed: int = 0,
        temperature: float | dict = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(temperature=temperature, **kwargs)
        self.flows, self.seed = flows, seed

    def compare(self, student: Tensor, teacher: Tensor, target: Tensor | None) -> Tensor:
        """Compute the distance of one pair of maps, a scalar."""
        valid = self.valid(target, student)
        edges = Flow(*(mask[:, None] for mask in valid_edges(valid)))
        ours, theirs = (self._flow(z) * edges for z in (student, teacher))
        number = sum(mask.sum(dim=(1, 2, 3)) for mask in edges).clamp(min=1).to(student.dtype)
        scale = theirs.energy().sum(dim=1) + FLOOR * number
        return (self.energy(ours - theirs, valid).sum(dim=1) / scale).mean()

    def _flow(self, logits: Tensor) -> Flow:
        p = (logits / self.current_temperature()).softmax(dim=1)
        first, second = _pairs(p.shape[1], self.flows, self.seed, p.dtype, p.device)
        self.require(
            len(first) > 0,
            f'flows={self.flows} needs at least 2 * flows channels; the map has {p.shape[1]}',
        )
        return pair_flow(_mixed(first, p), _mixed(second, p))

    def energy(self, difference: Flow, valid: Tensor) -> Tensor:
        """Return what counts of the difference of two flows.

        Args:
            difference: Flows of maps (N, P, H, W), 0 at void pixels.
            valid: The pixels (N, H, W) that are not void.

        Returns:
            A number for each flow, (N, P).
        """
        return difference.energy()


@MODELS.register_module()
class HodgeFlowLoss(EdgeFlowLoss):
    r"""Distance between the parts of two flows: the gradient, curl and harmonic part.

    `EdgeFlowLoss` with its numerator split by the Hodge decomposition of the difference
    :math:`\delta = w^S - w^T` into orthogonal parts, each with a weight:
    :math:`\lambda_g \lVert \delta_g \rVert^2 + \lambda_c \lVert \delta_c \rVert^2 +
    \lambda_h \lVert \delta_h \rVert^2`. With u class probabilities, the gradient part is where one
    class takes over from another, and the curl part where three or more classes meet
    (docs/hodge.md). Of two classes the curl part is 0.

    Edges at void pixels count as 0 and the split is that of the full grid, unless 'harmonic' is
    among the components: then the grid has holes where the labels are void. That costs about 40
    times the transforms.

    Config: ``dict(type='HodgeFlowLoss', components=dict(gradient=1.0, curl=4.0))``

    Args:
        components: Parts that count: names, or weights by name.
        **kwargs: As for `EdgeFlowLoss`, of which shapes and errors hold too.

    Raises:
        ValueError: On an unknown component, a negative weight, or 'harmonic' without void pixels
            (`ignore_index=None`).

    Example:
        >>> student, teacher = torch.zeros(2, 3, 8, 8), torch.ones(2, 3, 4, 4)
        >>> HodgeFlowLoss(components=['curl'])(student, teacher)
        tensor(0.)
    """

    def __init__(
        self, components: Sequence[str] | Mapping[str, float] = ('gradient', 'curl'), **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        weights = components if isinstance(components, Mapping) else dict.fromkeys(components, 1.0)
        self.require(
            len(weights) > 0 and set(weights) <= set(COMPONENTS),
            f'components={components!r} are not names, or weights by name, of {COMPONENTS}',
        )
        self.require(min(weights.values()) >= 0, f'components={components!r} has a negative weight')
        self.require(
            'harmonic' not in weights or self.ignore_index is not None,
            'a full grid has no harmonic part: leave out harmonic, or set ignore_index',
        )
        self.components = dict(weights)

    def energy(self, difference: Flow, valid: Tensor) -> Tensor:
        """Return the weighted energy of the parts, (N, P); arguments as in `EdgeFlowLoss`."""
        if 'harmonic' in self.components:
            parts = split_masked(difference, valid[:, None])
            return sum(w * getattr(parts, name).energy() for name, w in self.components.items())
        parts = spectrum_of(difference, self.angle(valid.shape[1:], difference.x))
        return sum(
            w * getattr(parts, name).square().sum(dim=(-2, -1))
            for name, w in self.components.items()
        )

    def angle(self, size: Sequence[int], like: Tensor) -> Tensor | None:
        """Return the angles of another split; None for that into gradient and curl."""
        return None


@MODELS.register_module()
class RandomSplitFlowLoss(HodgeFlowLoss):
    """`HodgeFlowLoss` with a random orthogonal split in the place of gradient and curl.

    The control that shows whether the curl matters or any subspace does. The two subspaces keep
    their ranks and their frequencies: at each frequency the angle that separates gradient from curl
    is replaced by a random one, drawn with `seed`.

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


@lru_cache(maxsize=32)
@torch.inference_mode(False)
def _pairs(
    classes: int, flows: int | None, seed: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return the directions between which flows run, as two matrices (P, K).

    Without `flows` there is one for every pair of classes, P = K (K - 1) / 2. Otherwise there are
    P = `flows` pairs of orthonormal directions, drawn with a seed, and none if K is below 2 P.
    """
    if flows is None:
        a, b = torch.triu_indices(classes, classes, offset=1)
        pairs = torch.eye(classes)[a], torch.eye(classes)[b]
    elif 0 < 2 * flows <= classes:
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn(classes, 2 * flows, generator=generator)
        pairs = torch.linalg.qr(drawn).Q.t().contiguous().chunk(2)
    else:
        pairs = torch.empty(2, 0, classes)
    return tuple(x.to(device, dtype) for x in pairs)


def _mixed(weights: Tensor, maps: Tensor) -> Tensor:
    """Apply a matrix (P, K) to the channels of maps (N, K, H, W)."""
    return (weights.to(maps.dtype) @ maps.flatten(2)).unflatten(2, maps.shape[2:])


@lru_cache(maxsize=32)
@torch.inference_mode(False)
def _random_angles(
    height: int, width: int, seed: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(height, width, generator=generator) * torch.pi).to(device, dtype)
