"""The points of a grid or search: which parameter mattered, and which values lie at an edge."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna import distributions as dist
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from mmseg_kd.records.json_lines import is_number
from mmseg_kd.records.study_file import StudyRecord
from mmseg_kd.reports.comparing.collection import Collection

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


def points_of(collection: Collection, study: StudyRecord) -> list[Point]:
    """Return the evaluated points of a study's grid or search, seeds of one point together."""
    points = []
    for group in collection.groups:
        run, score = group.runs[0], group.mean_score(collection.metric)
        if run.params and math.isfinite(score) and run in study.runs:
            points.append(Point(group.name, run.params, score))
    return points


def importances(points: Sequence[Point], space: Mapping[str, Any]) -> dict[str, float]:
    """Return the share of each parameter in what made points good, the largest first.

    PED-ANOVA (Watanabe et al., IJCAI 2023) needs few points and ignores the order of choices.
    Pruned points count with the best score they reached.

    Args:
        points: The points; fewer than eight give nothing.
        space: The choices by dotted key.

    Returns:
        Shares that sum to 1 by dotted key.
    """
    kinds = {key: _distribution(key, choices, points) for key, choices in space.items()}
    points = [point for point in points if _fits(point, kinds)]
    if len(points) < FEWEST_POINTS or len({point.score for point in points}) < 2:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction='maximize')
    for point in points:
        params = {key: _inside(point.params[key], kind) for key, kind in kinds.items()}
        study.add_trial(
            optuna.trial.create_trial(params=params, distributions=kinds, value=point.score)
        )
    return get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())


def best_at_the_edge(
    collection: Collection,
) -> Iterator[tuple[StudyRecord, dict[str, tuple[Any, str]]]]:
    """Yield the studies whose best point lies at an edge, with the result of `at_the_edge`."""
    for study in collection.studies:
        scored = [(run.best(collection.metric), run) for run in study.runs if run.params]
        scored = [(row[collection.metric], run) for row, run in scored if row is not None]
        if scored:
            _, best = max(scored, key=lambda pair: pair[0])
            if found := at_the_edge(study.space, best.params):
                yield study, found


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
        choices = space.get(key)
        # A grid has nothing between its points.
        margin, logarithmic = 0.0, False
        if isinstance(choices, Mapping):
            ends = [choices.get('low'), choices.get('high')]
            margin, logarithmic = MARGIN, str(choices.get('type', '')).startswith('log')
        else:
            ends = [c for c in choices or () if is_number(c)]
            if len(ends) < FEWEST_CHOICES:
                continue
        if not all(map(is_number, (value, *ends))) or min(ends) == max(ends):
            continue
        place = _place(value, min(ends), max(ends), logarithmic)
        if place <= margin or place >= 1 - margin:
            found[key] = (value, 'lowest' if place <= margin else 'highest')
    return found


def _place(value: float, low: float, high: float, logarithmic: bool) -> float:
    if logarithmic and low > 0:
        value, low, high = (math.log(x) for x in (value, low, high))
    return (value - low) / (high - low)


def _distribution(key: str, choices: Any, points: Sequence[Point]) -> dist.BaseDistribution:
    kind = choices.get('type') if isinstance(choices, Mapping) else None
    if kind == 'int':
        return dist.IntDistribution(choices['low'], choices['high'])
    if kind in ('uniform', 'loguniform'):
        return dist.FloatDistribution(choices['low'], choices['high'], log=kind == 'loguniform')
    # Only what was chosen counts: the space may have been edited since.
    values = [point.params[key] for point in points if key in point.params]
    return dist.CategoricalDistribution(list(dict.fromkeys(map(repr, values))) or ['None'])


def _fits(point: Point, kinds: Mapping[str, dist.BaseDistribution]) -> bool:
    return all(
        key in point.params
        and (isinstance(kind, dist.CategoricalDistribution) or is_number(point.params[key]))
        for key, kind in kinds.items()
    )


def _inside(value: Any, kind: dist.BaseDistribution) -> Any:
    if isinstance(kind, dist.CategoricalDistribution):
        return repr(value)
    return min(max(value, kind.low), kind.high)
