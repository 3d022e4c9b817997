"""Diagnoses of runs: the end of the curve, and useless losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from mmseg_kd.distillation.gradient_diagnosis import Finding, FullWeight, diagnose
from mmseg_kd.records.run_record import RunRecord
from mmseg_kd.reports.comparing.collection import Group

# In points. Two evaluations in a row differ by less than this anyway.
STILL_IMPROVING, FELL = 0.5, 1.0
FEWEST_EVALUATIONS = 3


class Course(NamedTuple):
    """The end of a mean curve.

    Attributes:
        peak: Iteration of its highest value.
        gain: Points by which the last evaluation exceeds all before it; 0 if that is not clear.
        loss: Points by which the last evaluation is below the peak; 0 if that is not clear.
    """

    peak: int
    gain: float
    loss: float


def course(group: Group) -> Course:
    """Describe the end of a group's mean curve, without gain and loss below three evaluations."""
    iterations, values = group.curves()
    if len(iterations) < FEWEST_EVALUATIONS:
        return Course(0, 0.0, 0.0)
    means = values.mean(axis=0)
    peak, gain, loss = means.argmax(), means[-1] - means[:-1].max(), means.max() - means[-1]
    gain, loss = (gain if gain >= STILL_IMPROVING else 0.0), (loss if loss >= FELL else 0.0)
    return Course(int(iterations[peak]), float(gain), float(loss))


def loss_faults(run: RunRecord) -> dict[str, tuple[str, Finding]]:
    """Return the distillation losses that have almost no effect, or too much, at the end of a run.

    Returns:
        Config key of the weight, and the finding, by name of the loss.
    """
    weights = {}
    for name, row in run.gradients[-1]['losses'].items() if run.gradients else ():
        setting, key = run.kd_losses.get(name), f'model.kd_losses.{name}.loss_weight'
        weight = setting.get('loss_weight') if isinstance(setting, Mapping) else None
        weight = row.get('weight') if weight is None else weight
        scheduled = isinstance(weight, Mapping)
        while isinstance(weight, Mapping):
            weight, key = weight.get('value'), f'{key}.value'
        known = weight if isinstance(weight, int | float) else None
        weights[name] = FullWeight(key, known, scheduled)
    found = diagnose(run.gradients, weights)
    return {name: (weights[name].key, finding) for name, finding in found.items()}
