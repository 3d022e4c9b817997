"""The losses' gradients at the student's features and logits, and weights as shares of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from mmengine.dist import all_reduce
from mmseg.registry import TASK_UTILS
from torch import Tensor

from mmseg_kd.distillation.base import KDLoss
from mmseg_kd.distillation.schedules import Schedule, unnested

# Under float16 the gradient of a mean over many pixels would vanish; a power of two is exact.
FLOAT16_SCALE = 2.0**12


@dataclass(frozen=True)
class GradientStats:
    """The gradient of one loss at the student's features and logits.

    Attributes:
        features: L2 norm at the features, all stages together.
        logits: L2 norm at the logits.
        cosine: Cosine with the gradient of the task's losses at the features, -1 to 1; nan where
            one of them is 0.
    """

    features: float
    logits: float
    cosine: float

    def __mul__(self, weight: float) -> GradientStats:
        """Return the gradient of the loss times a weight, which is not negative."""
        return GradientStats(self.features * weight, self.logits * weight, self.cosine)


# By name of the loss.
Stats = Mapping[str, GradientStats]


def measure_gradients(
    task: Tensor, losses: Mapping[str, Tensor], features: Sequence[Tensor], logits: Tensor
) -> Tensor:
    """Measure the gradient of each loss, keeping the graph for the training step.

    The features are the backbone's stages before their last normalisation: the gradient of every
    loss passes through them to the backbone's weights. Differentiating up to them costs a part of a
    backward pass per loss; gradients of weights are not computed.

    Args:
        task: Sum of the losses on the labels, a scalar.
        losses: Distillation losses, scalars by name.
        features: Maps (N, C, H, W) of the student, on the graph of the losses.
        logits: The student's logits (N, K, H, W), on the same graph.

    Returns:
        A table (1 + losses, 3) on the losses' device, the task's row first: norm at the features,
        norm at the logits, inner product with the task's gradient at the features. With several
        processes they are means over the processes, of the norms root mean squares. `read_table`
        reads it.
    """
    # Frozen stages are on no graph.
    inputs = [x for x in (*features, logits) if x.requires_grad]
    reference = _gradients(task, inputs)
    rows = [reference, *(_gradients(loss, inputs) for loss in losses.values())]
    table = torch.stack([_row(gradients, reference) for gradients in rows])
    # As squares: with the means of the norms a cosine could be above 1.
    table[:, :2].square_()
    all_reduce(table, op='mean')
    table[:, :2].sqrt_()
    return table


def read_table(table: Tensor, losses: Iterable[str]) -> tuple[GradientStats, Stats]:
    """Read a table of `measure_gradients`; this waits for the device.

    Args:
        table: The table.
        losses: Names of the losses, in its order.

    Returns:
        The task's `GradientStats` and those of the losses by name.
    """
    rows = table.tolist()
    task = rows[0][0]
    stats = [GradientStats(x, y, dot / (x * task) if x * task else math.nan) for x, y, dot in rows]
    return stats[0], dict(zip(losses, stats[1:], strict=True))


def shares(task: GradientStats, stats: Stats) -> dict[str, float]:
    """Return each loss' share of the summed gradient norms at the features, 0 to 1.

    Args:
        task: Gradient of the losses on the labels.
        stats: Gradients of the distillation losses, weighted.

    Returns:
        Shares by name, that of the labels under 'task'; they add up to 1.

    Example:
        >>> one, three = (GradientStats(norm, 0.0, 1.0) for norm in (1.0, 3.0))
        >>> shares(one, {'kl': three})
        {'task': 0.25, 'kl': 0.75}
    """
    norms = {'task': task.features} | {name: each.features for name, each in stats.items()}
    total = sum(norms.values())
    return {name: norm / total if total else 0.0 for name, norm in norms.items()}


def weight_for(share: float, stats: GradientStats, others: float) -> float:
    """Return the weight at which a loss has the given share of the gradient.

    Args:
        share: Between 0 and 1.
        stats: The loss' gradient at weight 1.
        others: Sum of the other losses' norms at the features.

    Returns:
        The weight; nan where the loss has no gradient.

    Example:
        >>> weight_for(0.5, GradientStats(2.0, 0.0, 1.0), others=6.0)
        3.0
    """
    return share / (1 - share) * others / stats.features if stats.features else math.nan


@TASK_UTILS.register_module()
@dataclass
class GradientShare(Schedule):
    """The weight at which a loss has a given share of the gradient at the student's features.

    At equal weights the gradients of losses differ by orders of magnitude (`docs/results.md`), so a
    share is easier to choose than a weight. The weight of a loss is

        w = s / (1 - sum s) * (sum w_j g_j) / g

    with g the gradient norm of the loss at weight 1 and s its share. `sum s` is over the active
    losses with a `GradientShare`, `sum w_j g_j` over the others and the losses of the labels.

    The weight is measured every `interval` iterations from `begin` on and averaged exponentially.
    From `until` on it is fixed, and the log prints it as a number for the config. The same training
    finds the same weight; a resumed one reads it from the checkpoint.

    Args:
        share: Share of the summed gradient norms, between 0 and 1.
        begin: First iteration that counts; the weight is 0 before it.
        until: Iteration from which on the weight is fixed; None tracks to the end.
        interval: Iterations from one measurement to the next.
        momentum: EMA momentum, the weight of the previous average.

    Raises:
        ValueError: A share outside (0, 1), an interval below 1, a momentum outside [0, 1), or
            `until` not after `begin`.
    """

    share: float
    begin: int = 0
    until: int | None = 500
    interval: int = 10
    momentum: float = 0.9
    value: float = field(default=0.0, init=False)
    measurements: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(f'GradientShare: share={self.share!r} is not between 0 and 1')
        after = self.until is None or self.until > self.begin
        if not (self.interval >= 1 and 0 <= self.momentum < 1 and after):
            raise ValueError(
                f'GradientShare: interval={self.interval} must be at least 1, momentum='
                f'{self.momentum} from 0 to below 1, until={self.until} after begin={self.begin}'
            )

    def factor(self, iteration: int) -> float:
        """Return 1."""
        return 1.0

    def due(self, iteration: int) -> bool:
        """Return whether this iteration measures the ratio."""
        inside = self.begin <= iteration and (self.until is None or iteration < self.until)
        return inside and (iteration - self.begin) % self.interval == 0

    def update(self, weight: float) -> None:
        """Add a measurement: the weight that gives the share in this batch."""
        self.measurements += 1
        # The plain mean of the first measurements, so that the first batch does not dominate.
        keep = min(self.momentum, 1 - 1 / self.measurements)
        self.value = keep * self.value + (1 - keep) * weight

    def state_dict(self) -> dict[str, float]:
        """Return the state that a checkpoint keeps."""
        return {'weight': self.value, 'measurements': self.measurements, 'share': self.share}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Continue from a checkpoint.

        Raises:
            ValueError: It was trained with another share.
        """
        if state.get('share', self.share) != self.share:
            raise ValueError(f'share={state["share"]} in place of {self.share}')
        self.value, self.measurements = float(state['weight']), int(state['measurements'])


def share_of(value: float | Schedule) -> GradientShare | None:
    """Return the `GradientShare` of a weight, also from within other schedules, or None."""
    return next((each for each in unnested(value) if isinstance(each, GradientShare)), None)


def is_due(loss: KDLoss) -> bool:
    """Return whether the current iteration measures the weight of a loss."""
    share = share_of(loss.loss_weight)
    due = share is not None and share.due(loss.iteration)
    # A loss that another schedule has stopped has no share of the gradient.
    return due and (not share.measurements or loss.weight != 0)


def update_shares(losses: Mapping[str, KDLoss], task: GradientStats, stats: Stats) -> None:
    """Update the weights that the current iteration measures.

    Args:
        losses: The distillation losses by name.
        task: Gradient of the labels' losses.
        stats: Gradients of the distillation losses at weight 1, by name.
    """
    given = {name: share for name in losses if (share := share_of(losses[name].loss_weight))}
    due = {name: share for name, share in given.items() if is_due(losses[name])}
    total = sum(s.share for name, s in given.items() if name in due or losses[name].weight)
    others = task.features + sum(
        losses[name].weight * each.features for name, each in stats.items() if name not in given
    )
    for name, share in due.items():
        # `weight_for` divides by 1 - share. With several shares the divisor is 1 - their sum.
        weight = weight_for(share.share, stats[name], others) * (1 - share.share) / (1 - total)
        # A gradient that overflows float16 would give the weight 0.
        if 0 < weight < math.inf:
            share.update(weight)
            # Fills the tensor of the weight.
            losses[name].set_iteration(losses[name].iteration)


def _gradients(loss: Tensor, inputs: Sequence[Tensor]) -> list[Tensor]:
    if not loss.requires_grad:
        return [torch.zeros_like(x, dtype=torch.float32) for x in inputs]
    scale = FLOAT16_SCALE if any(x.dtype == torch.float16 for x in inputs) else 1.0
    # Outside autocast, like the backward pass of the training step.
    with torch.autocast(loss.device.type, enabled=False):
        gradients = torch.autograd.grad(
            loss, inputs, torch.full_like(loss, scale), retain_graph=True, materialize_grads=True
        )
    return [x.float() / scale for x in gradients]


def _row(gradients: Sequence[Tensor], reference: Sequence[Tensor]) -> Tensor:
    """Return the norms at the features and logits, and the product with the reference, (3,)."""
    *features, logits = gradients
    zero = logits.new_zeros(())
    norms = torch.stack([zero, *(torch.linalg.vector_norm(x) for x in features)])
    dot = sum(((a * b).sum() for a, b in zip(features, reference[:-1], strict=True)), zero)
    return torch.stack([torch.linalg.vector_norm(x) for x in (norms, logits)] + [dot])
