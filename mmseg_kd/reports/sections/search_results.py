"""The points of a grid or search: which parameter mattered, and where to go on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from mmseg_kd.records.study_file import StudyRecord
from mmseg_kd.reports.comparing.collection import Collection

# Of fewer points an importance says nothing, and of two choices both are an edge.
FEWEST_POINTS, FEWEST_CHOICES = 8, 3


@dataclass(frozen=True)
class Point:
    """What was chosen, by dotted key, and the mean score of its seeds."""

    name: str
    params: Mapping[str, Any]
    score: float


def points_of(collection: Collection, study: StudyRecord) -> list[Point]:
    """The evaluated points of a study's grid or search, seeds of one point together."""
    names = {run.name for run in study.runs if run.params}
    points = []
    for group in collection.groups:
        run = group.runs[0]
        score = group.mean_score(collection.metric)
        if run.name in names and run.params and math.isfinite(score) and run in study.runs:
            points.append(Point(group.name, run.params, score))
    return points


def importances(points: Sequence[Point], space: Mapping[str, Any]) -> dict[str, float]:
    """Share that each parameter has in what made points good, the largest first.

    PED-ANOVA (Watanabe et al., IJCAI 2023), which needs few points and knows no order of
    choices. Pruned points count with the best they reached.

    Args:
        points: The points; fewer than eight give nothing.
        space: What they were chosen from, by dotted key.

    Returns:
        Shares that sum to 1 by dotted key.
    """
    distributions = {key: _distribution(key, choices, points) for key, choices in space.items()}
    points = [
        point
        for point in points
        if all(
            key in point.params
            and (isinstance(kind, CategoricalDistribution) or is_number(point.params[key]))
            for key, kind in distributions.items()
        )
    ]
    if len(points) < FEWEST_POINTS or len({point.score for point in points}) < 2:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction='maximize')
    for point in points:
        params = {
            key: _held(point.params[key], distribution)
            for key, distribution in distributions.items()
        }
        study.add_trial(
            optuna.trial.create_trial(params=params, distributions=distributions, value=point.score)
        )
    return get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())


def best_at_the_edge(
    collection: Collection,
) -> Iterator[tuple[StudyRecord, dict[str, tuple[Any, str]]]]:
    """Yield the studies whose best point lies at an edge, with what `at_the_edge` finds."""
    for study in collection.studies:
        scored = [(run.best(collection.metric), run) for run in study.runs if run.params]
        scored = [(row[collection.metric], run) for row, run in scored if row is not None]
        if not scored:
            continue
        _, best = max(scored, key=lambda pair: pair[0])
        if found := at_the_edge(study.space, best.params):
            yield study, found


def at_the_edge(space: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, tuple[Any, str]]:
    """Chosen values that lie at the edge of what could be chosen.

    Args:
        space: Of a grid (a list) or a search (a dict with `low` and `high`), by dotted key.
        params: What was chosen.

    Returns:
        The value and which edge, 'lowest' or 'highest', by dotted key; of numbers only.
    """
    found = {}
    for key, value in params.items():
        choices = space.get(key)
        if isinstance(choices, Mapping):
            low, high = choices.get('low'), choices.get('high')
            logarithmic = str(choices.get('type', '')).startswith('log')
        elif isinstance(choices, list):
            numbers = [c for c in choices if is_number(c)]
            if len(numbers) < FEWEST_CHOICES:
                continue
            low, high, logarithmic = min(numbers), max(numbers), False
        else:
            continue
        if not all(map(is_number, (value, low, high))) or low >= high:
            continue
        place = _place(value, low, high, logarithmic and low > 0)
        # A grid has nothing between its points.
        margin = 0.0 if isinstance(choices, list) else 0.05
        if place <= margin or place >= 1 - margin:
            found[key] = (value, 'lowest' if place <= margin else 'highest')
    return found


def is_number(value: Any) -> bool:
    """Whether a value has a place on an axis of numbers."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _place(value: float, low: float, high: float, logarithmic: bool) -> float:
    if logarithmic:
        value, low, high = (math.log(x) for x in (value, low, high))
    return (value - low) / (high - low)


def _distribution(key: str, choices: Any, points: Sequence[Point]) -> BaseDistribution:
    kind = choices.get('type') if isinstance(choices, Mapping) else None
    if kind == 'int':
        return IntDistribution(choices['low'], choices['high'])
    if kind in ('uniform', 'loguniform'):
        return FloatDistribution(choices['low'], choices['high'], log=kind == 'loguniform')
    # What was chosen counts too: the space may have been edited since.
    values = [point.params[key] for point in points if key in point.params]
    return CategoricalDistribution(list(dict.fromkeys(map(repr, values))) or ['None'])


def _held(value: Any, distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return repr(value)
    return min(max(value, distribution.low), distribution.high)
