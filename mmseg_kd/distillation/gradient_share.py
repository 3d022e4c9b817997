"""A weight given as a share of the gradient."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from mmseg.registry import TASK_UTILS

from mmseg_kd.distillation.base import KDLoss
from mmseg_kd.distillation.gradients import GradientStats, weight_for
from mmseg_kd.distillation.schedules import Constant, Schedule, unnested


@TASK_UTILS.register_module()
@dataclass
class GradientShare(Constant):
    """The weight at which a loss has a given share of the gradient at the student's features.

    Losses differ by orders of magnitude (`docs/results.md`), so a share means more than
    a weight. With g the norm of a loss' gradient (see `mmseg_kd.distillation.gradients`), s
    the shares asked for and the sum over the losses with a weight of their own, cross-entropy
    first of all, the weight is

        w = s / (1 - sum s) * (sum w_j g_j) / g

    The ratio is measured every `interval` iterations from `begin` on and averaged
    exponentially; from `until` on the weight is fixed, and the log prints it as a number for
    the config. The same training finds the same weight; a resumed one reads it from the checkpoint.

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

    def due(self, iteration: int) -> bool:
        """Return whether this iteration measures the ratio."""
        inside = self.begin <= iteration and (self.until is None or iteration < self.until)
        return inside and (iteration - self.begin) % self.interval == 0

    def update(self, weight: float) -> None:
        """Add a measurement: the weight that gives the share in this batch."""
        self.measurements += 1
        # Early on the plain mean, so that the first batch does not dominate.
        keep = min(self.momentum, 1 - 1 / self.measurements)
        self.value = keep * self.value + (1 - keep) * weight

    def state_dict(self) -> dict[str, float]:
        """Return what a checkpoint has to keep."""
        return {'weight': self.value, 'measurements': self.measurements}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Continue from a checkpoint."""
        self.value, self.measurements = float(state['weight']), int(state['measurements'])


def share_of(value: float | Schedule) -> GradientShare | None:
    """Return the `GradientShare` of a weight, which other schedules may contain, or None."""
    return next((each for each in unnested(value) if isinstance(each, GradientShare)), None)


def is_due(loss: KDLoss) -> bool:
    """Return whether the current iteration measures the weight of a loss."""
    share = share_of(loss.loss_weight)
    return share is not None and share.due(loss.iteration)


def update_shares(
    losses: Mapping[str, KDLoss], task: GradientStats, stats: Mapping[str, GradientStats]
) -> None:
    """Update the weights that the current iteration measures.

    Args:
        losses: The distillation losses by name.
        task: Gradient of the labels' losses.
        stats: Gradients of the distillation losses at weight 1, by name.
    """
    shares = {name: share for name in losses if (share := share_of(losses[name].loss_weight))}
    due = {name: share for name, share in shares.items() if is_due(losses[name])}
    total = sum(s.share for name, s in shares.items() if name in due or losses[name].weight)
    others = task.features + sum(
        losses[name].weight * each.features for name, each in stats.items() if name not in shares
    )
    for name, share in due.items():
        # With several shares the others' sum grows with them: s / (1 - sum of all).
        weight = weight_for(share.share, stats[name], others) * (1 - share.share) / (1 - total)
        if math.isfinite(weight) and others > 0:
            share.update(weight)
            # Fills the tensor of the weight.
            losses[name].set_iteration(losses[name].iteration)
