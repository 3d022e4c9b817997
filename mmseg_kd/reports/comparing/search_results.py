"""The points of a grid or search: which parameter mattered, and which values lie at an edge."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from mmseg_kd.records.json_lines import is_number
from mmseg_kd.records.study_file import StudyRecord
from mmseg_kd.reports.comparing.collection import Collection
from mmseg_kd.reports.comparing.differing_settings import setting_text

# With fewer points importances mean nothing; of two choices both are an edge.
FEWEST_POINTS, FEWEST_CHOICES = 8, 3
# Part of a range that counts as its edge.
MARGIN = 0.05


@dataclass(frozen=True)
class Point:
    """Chosen values by dotted key, and the mean score over the seeds."""

    name: str
    params: Mapping[str, Any]
    score: float


@dataclass(frozen=True)
class Scale:
    """The values of a parameter as numbers: those of a range, or the places of named choices."""

    values: np.ndarray
    names: Sequence[str] = ()
    logarithmic: bool = False


def points_of(collection: Collection, study: StudyRecord) -> list[Point]:
    """Return the evaluated points of a study's grid or search, seeds of one point together."""
    return [
        Point(group.name, group.runs[0].params, group.score)
        for group in collection.groups
        if group.runs[0].params and math.isfinite(group.score) and group.runs[0] in study.runs
    ]


def scale_of(points: Sequence[Point], key: str, choices: Any) -> Scale:
    """Return the values of a parameter at each point.

    Args:
        points: The points; one without the parameter counts as None.
        key: The dotted key.
        choices: What the study could choose: a list, or a dict as in its config.
    """
    values = [point.params.get(key) for point in points]
    ranged = isinstance(choices, Mapping) and 'choices' not in choices
    if ranged and all(map(is_number, values)):
        logarithmic = _is_logarithmic(choices) and min(values) > 0
        return Scale(np.array(values, dtype=float), logarithmic=logarithmic)
    known = [] if ranged else choices['choices'] if isinstance(choices, Mapping) else choices
    texts = [setting_text(value) for value in values]
    names = list(dict.fromkeys([*map(setting_text, known), *texts]))
    return Scale(np.array([names.index(text) for text in texts], dtype=float), names)


def importances(points: Sequence[Point], space: Mapping[str, Any]) -> dict[str, float]:
    """Return the share of each parameter in what made points good, the largest first.

    PED-ANOVA (Watanabe et al., IJCAI 2023) needs few points and ignores the order of choices.

    Args:
        points: The points; fewer than eight give nothing.
        space: The choices by dotted key.

    Returns:
        Shares that sum to 1 by dotted key.
    """
    points = [point for point in points if set(space) <= set(point.params)]
    if len(points) < FEWEST_POINTS or len({point.score for point in points}) < 2:
        return {}
    scales = {key: scale_of(points, key, choices) for key, choices in space.items()}
    kinds = {key: _distribution(scale) for key, scale in scales.items()}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction='maximize')
    for i, point in enumerate(points):
        params = {key: float(scale.values[i]) for key, scale in scales.items()}
        study.add_trial(
            optuna.trial.create_trial(params=params, distributions=kinds, value=point.score)
        )
    return get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())


def at_the_edge(space: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, tuple[Any, str]]:
    """Return the chosen numbers that lie at the edge of what could be chosen.

    Args:
        space: A list of choices for a grid, or a dict with `low` and `high`, by dotted key.
        params: The chosen values.

    Returns:
        The value and the edge, 'lowest' or 'highest', by dotted key.
    """
    found = {}
    for key, value in params.items():
        low, high = _edges(space.get(key, ()))
        if is_number(value) and low < high and not low < value < high:
            found[key] = (value, 'lowest' if value <= low else 'highest')
    return found


def _edges(choices: Any) -> tuple[float, float]:
    """Return the numbers at and beyond which a value lies at an edge; equal ones if none does."""
    if isinstance(choices, Mapping) and 'choices' not in choices:
        low, high = choices['low'], choices['high']
        if _is_logarithmic(choices):
            step = (high / low) ** MARGIN
            return low * step, high / step
        return low + MARGIN * (high - low), high - MARGIN * (high - low)
    # A grid has nothing between its points.
    numbers = [c for c in choices if is_number(c)] if isinstance(choices, list) else []
    return (min(numbers), max(numbers)) if len(numbers) >= FEWEST_CHOICES else (0, 0)


def _is_logarithmic(choices: Mapping[str, Any]) -> bool:
    return str(choices.get('type')).startswith('log') and choices['low'] > 0


def _distribution(scale: Scale) -> BaseDistribution:
    # Only what was chosen counts: the space may have been edited since.
    if scale.names:
        return CategoricalDistribution(sorted(set(scale.values.tolist())))
    return FloatDistribution(scale.values.min(), scale.values.max(), log=scale.logarithmic)
