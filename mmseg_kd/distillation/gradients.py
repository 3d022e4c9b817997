"""Norm and direction of each loss' gradient at the student's features and logits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from mmengine.dist import all_reduce
from torch import Tensor

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


def measure_gradients(
    task: Tensor, losses: Mapping[str, Tensor], features: Sequence[Tensor], logits: Tensor
) -> Tensor:
    """Measure the gradient of each loss, keeping the graph for the training step.

    The features are what every loss passes on its way to the backbone's weights: its stages,
    before their last normalisation. Differentiating up to there costs a part of a backward
    pass per loss; gradients of weights are not computed.

    Args:
        task: Sum of the losses on the labels, a scalar.
        losses: Distillation losses, scalars by name.
        features: Maps (N, C, H, W) of the student, on the graph of the losses.
        logits: The student's logits (N, K, H, W), on it too.

    Returns:
        A table (1 + losses, 3) on the losses' device, the task's row first: norm at the features,
        norm at the logits, inner product with the task's gradient at the features. With several
        processes means over them. `read_table` reads it.
    """
    # Frozen stages are on no graph.
    inputs = [x for x in (*features, logits) if x.requires_grad]
    reference = _gradients(task, inputs)
    rows = [reference, *(_gradients(loss, inputs) for loss in losses.values())]
    table = torch.stack([_row(gradients, reference) for gradients in rows])
    all_reduce(table, op='mean')
    return table


def read_table(
    table: Tensor, losses: Iterable[str]
) -> tuple[GradientStats, dict[str, GradientStats]]:
    """Read a table of `measure_gradients`; this waits for the device.

    Args:
        table: The table.
        losses: Names of the losses, in its order.

    Returns:
        The task's `GradientStats` and those of the losses by name.
    """
    rows = table.tolist()
    stats = []
    for at_features, at_logits, dot in rows:
        both = at_features * rows[0][0]
        stats.append(GradientStats(at_features, at_logits, dot / both if both else math.nan))
    return stats[0], dict(zip(losses, stats[1:], strict=True))


def shares(task: GradientStats, stats: Mapping[str, GradientStats]) -> dict[str, float]:
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
    """Return the weight at which a loss has a share of the gradient.

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


def _gradients(loss: Tensor, inputs: Sequence[Tensor]) -> list[Tensor]:
    if not loss.requires_grad:
        return [torch.zeros_like(x, dtype=torch.float32) for x in inputs]
    scale = FLOAT16_SCALE if any(x.dtype == torch.float16 for x in inputs) else 1.0
    # As the training step goes backward, outside the forward pass' autocast.
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
