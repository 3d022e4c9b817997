"""Diagnoses of runs: the end of the curve, weak teachers, useless losses, divergence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmseg_kd.distillation.gradient_diagnosis import Finding, FullWeight, diagnose
from mmseg_kd.records.run_record import RunRecord
from mmseg_kd.reports.comparing.collection import Collection, Group

# In points. Two evaluations in a row differ by less than this anyway.
STILL_IMPROVING, FELL = 0.5, 1.0
FEWEST_EVALUATIONS = 3


@dataclass(frozen=True)
class Course:
    """The end of a mean curve.

    Attributes:
        peak: Iteration of its highest value.
        gain: Points by which the last evaluation exceeds all before it; None if it does not.
        loss: Points by which the last evaluation is below the peak.
    """

    peak: int
    gain: float | None
    loss: float


def course(group: Group, metric: str) -> Course | None:
    """Describe the end of a group's mean curve; None for fewer than three evaluations."""
    iterations, values = group.curves(metric)
    if len(iterations) < FEWEST_EVALUATIONS:
        return None
    means = values.mean(axis=0)
    gain = float(means[-1] - means[:-1].max())
    peak = int(iterations[means.argmax()])
    return Course(peak, gain if gain > 0 else None, float(means.max() - means[-1]))


def still_improving(group: Group, metric: str) -> Course | None:
    """Return the course if the last evaluation beat all before by half a point, else None."""
    found = course(group, metric)
    return found if found and (found.gain or 0) >= STILL_IMPROVING else None


def peaked_and_fell(group: Group, metric: str) -> Course | None:
    """Return the course if the curve ended a point or more below its peak, else None."""
    found = course(group, metric)
    return found if found and found.loss >= FELL else None


def weak_teachers(collection: Collection) -> dict[str, tuple[str, float, float, str]]:
    """Return the teachers that do not beat the baseline.

    Returns:
        Metric, score of the teacher, score of the baseline and its source, by checkpoint.
    """
    found = {}
    for run in collection.runs:
        for card in run.teachers.values():
            metrics = card.get('metrics') or {}
            metric = collection.metric if collection.metric in metrics else 'mIoU'
            score, baseline = metrics.get(metric), _baseline_score(collection, card, metric)
            if score is not None and baseline is not None and score <= baseline[0]:
                found[str(card.get('checkpoint'))] = (metric, score, *baseline)
    return found


def _baseline_score(
    collection: Collection, card: Mapping[str, Any], metric: str
) -> tuple[float, str] | None:
    if collection.baseline is not None:
        score = collection.baseline.mean_score(metric)
        if math.isfinite(score):
            return score, collection.baseline.name
    known = card.get('baseline')
    if isinstance(known, Mapping) and metric == 'mIoU':
        return float(known['mIoU']), str(known.get('source'))
    return None


def loss_faults(run: RunRecord) -> dict[str, tuple[str, Finding]]:
    """Return the distillation losses that have almost no effect, or too much, at the end of a run.

    Returns:
        Config key of the weight, and the finding, by name of the loss.
    """
    if not run.gradients:
        return {}
    weights = {}
    for name, row in run.gradients[-1]['losses'].items():
        setting = run.kd_losses.get(name)
        setting = setting if isinstance(setting, Mapping) else {}
        weights[name] = _full_weight(name, setting.get('loss_weight', row.get('weight')))
    found = diagnose(run.gradients, weights, {})
    return {name: (weights[name].key, finding) for name, finding in found.items()}


def _full_weight(name: str, weight: Any) -> FullWeight:
    key = f'model.kd_losses.{name}.loss_weight'
    scheduled = isinstance(weight, Mapping)
    while isinstance(weight, Mapping):
        weight, key = weight.get('value'), f'{key}.value'
    return FullWeight(key, weight if isinstance(weight, int | float) else None, scheduled)


def diverged(run: RunRecord) -> int | None:
    """Return the first iteration at which the loss was not finite, or None."""
    loss = run.training.get('loss')
    if loss is None:
        return None
    bad = np.flatnonzero(~np.isfinite(loss))
    return int(run.training['step'][bad[0]]) if len(bad) else None
