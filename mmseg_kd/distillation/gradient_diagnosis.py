"""Gradient reports, and warnings about losses that have almost no effect or dominate."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any, NamedTuple

from torch import Tensor

from mmseg_kd.distillation.base import log_names
from mmseg_kd.distillation.gradients import GradientStats, Stats, share_of, shares, weight_for
from mmseg_kd.distillation.schedules import Schedule, unnested

# Number of reports that a warning is based on: a single batch is too noisy.
REPORTS = 3
OFF, DOMINANT = 0.001, 0.9
SUGGESTED_SHARE = 0.1
# Largest factor by which a suggestion raises a weight above 1: a few batches justify no more.
MOST_CHANGE = 100

# A record of `gradients.jsonl`.
Report = dict[str, Any]


class FullWeight(NamedTuple):
    """The weight of a loss in the config, without the factors of schedules.

    Attributes:
        key: Config key.
        value: The weight; None for a `GradientShare`, which finds it by itself.
        scheduled: Whether a schedule multiplies it.
    """

    key: str
    value: float | None
    scheduled: bool = False


class Finding(NamedTuple):
    """A problem of a loss.

    Attributes:
        condition: 'off', 'dominates', 'cut' or 'zero'.
        message: The problem in a sentence, with a better weight.
        share: Share of the gradient, where the weight is the problem.
        better: The better weight, where there is one.
    """

    condition: str
    message: str
    share: float | None = None
    better: float | None = None


def make_report(
    iteration: int,
    gradients: tuple[GradientStats, Stats],
    losses: Mapping[str, Any],
    outputs: Mapping[str, Tensor],
) -> Report:
    """Return a measurement as a record of `gradients.jsonl`.

    Args:
        iteration: Number of the iteration, from 0.
        gradients: The gradient of the labels' losses, and those of the weighted losses by name.
        losses: The distillation losses by name.
        outputs: The scalars that the training step returned, by name.

    Returns:
        `iter`, `task` and, by name, `losses`. A value is None if it is not finite, as a cosine
        without a gradient is.
    """
    task, weighted = gradients
    scalars = {k: v for k, v in outputs.items() if isinstance(v, Tensor) and v.numel() == 1}
    values = {k: float(v.detach()) for k, v in scalars.items()}
    share = shares(task, weighted)
    rows, own = {}, {'loss'}
    for name, loss in losses.items():
        weighted_name, raw_name = log_names(name)
        own.add(weighted_name)
        rows[name] = _finite(
            raw=values.get(raw_name),
            weighted=values.get(weighted_name),
            weight=loss.weight,
            share=share[name],
            **vars(weighted[name]),
        )
    of_labels = sum(value for key, value in values.items() if 'loss' in key and key not in own)
    first = _finite(
        weighted=of_labels, features=task.features, logits=task.logits, share=share['task']
    )
    return {'iter': iteration, 'task': first, 'losses': rows}


def describe(report: Report) -> str:
    """Return a report as one line of text."""
    parts = [f'labels {percent(report["task"]["share"])}']
    for name, row in report['losses'].items():
        if row['weight'] == 0:
            parts.append(f'{name} weight 0')
            continue
        cosine = '' if row['cosine'] is None else f' (cos {row["cosine"]:+.2f})'
        parts.append(f'{name} {percent(row["share"])}{cosine}')
    return f'gradient at {report["iter"]}: {", ".join(parts)}'


def diagnose(reports: Sequence[Report], weights: Mapping[str, FullWeight]) -> dict[str, Finding]:
    """Find losses that have no effect, almost none, or too much.

    A loss with a schedule is judged at its full weight. While one loss dominates the others, none
    of them is reported as having no effect.

    Args:
        reports: In order. The last three are judged; with fewer there are no findings. The better
            weight is computed from the medians of all.
        weights: Weights of the losses by name. A loss of weight 0 is not judged, and the size of a
            `GradientShare` is not.

    Returns:
        Findings by name of the loss.
    """
    if len(reports) < REPORTS:
        return {}
    reports = [_at_full_weights(report, weights) for report in reports]
    judged = {name: _judge(name, weight, reports) for name, weight in weights.items()}
    findings = {name: finding for name, finding in judged.items() if finding}
    if any(finding.condition == 'dominates' for finding in findings.values()):
        return {name: f for name, f in findings.items() if f.condition != 'off'}
    return findings


def full_weight(name: str, loss_weight: float | Schedule | Mapping) -> FullWeight:
    """Return the weight that schedules, built or of a config, multiply, and its config key."""
    key = f'model.kd_losses.{name}.loss_weight'
    if share_of(loss_weight):
        return FullWeight(key, None)
    *schedules, value = unnested(loss_weight)
    known = value if isinstance(value, int | float) else None
    return FullWeight(key + '.value' * len(schedules), known, bool(schedules))


def _at_full_weights(report: Report, weights: Mapping[str, FullWeight]) -> Report:
    """Return a report with the losses as they are at the weights that schedules multiply."""
    rows = dict(report['losses'])
    for name, row in rows.items():
        full = weights[name].value if name in weights else None
        if full and row['weight'] and row['features']:
            rows[name] = row | dict(weight=full, features=full / row['weight'] * row['features'])
    return report | dict(losses=rows)


def _judge(name: str, weight: FullWeight, reports: Sequence[Report]) -> Finding | None:
    recent = reports[-REPORTS:]
    rows = [report['losses'].get(name) for report in recent]
    if weight.value == 0 or None in rows:
        return None
    if all(row['raw'] == 0 for row in rows):
        return Finding(
            'zero',
            f'{name} was exactly 0 in the last {REPORTS} reports, so it teaches nothing: the '
            'student equals the teacher at its taps (stages), or it does not depend on them',
        )
    if any(row['features'] is None or not row['raw'] for row in rows):
        return None
    # A `GradientShare` that finds no gradient keeps the weight 0, and at weight 0 every norm is 0.
    # Then only the missing cosine shows that there is no gradient.
    if all(
        row['features'] == 0
        and (row['weight'] or (row['cosine'] is None and report['task']['features']))
        for report, row in zip(recent, rows, strict=True)
    ):
        return Finding(
            'cut',
            f"no gradient of {name} reaches the backbone's stages, so it does not teach them "
            f'at any {weight.key}',
        )
    return None if weight.value is None else _judge_scale(name, weight, reports)


def _judge_scale(name: str, weight: FullWeight, reports: Sequence[Report]) -> Finding | None:
    pairs = [_at_weight_one(report, name) for report in reports]
    recent = pairs[-REPORTS:]
    if None in recent:
        return None
    share = fmean(_share(weight.value * own, others) for own, others in recent)
    if share < OFF:
        condition, trouble = 'off', 'has almost no effect'
    elif share > DOMINANT:
        condition, trouble = 'dominates', "dominates the labels' loss"
    else:
        return None
    full = ' at its full weight' if weight.scheduled else ''
    message = f'{name} {trouble} ({percent(share)} of the gradient norm{full})'
    own, others = (median(values) for values in zip(*filter(None, pairs), strict=True))
    wanted = weight_for(SUGGESTED_SHARE, GradientStats(own, 0.0, math.nan), others)
    if not wanted or not math.isfinite(wanted):
        return Finding(condition, message, share)
    better = min(wanted, max(1.0, MOST_CHANGE * weight.value))
    message += f'. Set {weight.key}={better:.3g} for about '
    message += f'{100 * _share(better * own, others):.2g} %'
    if better < wanted:
        message += f' (one step is at most {MOST_CHANGE} times, or to 1; then measure again)'
    return Finding(condition, message, share, better)


def _at_weight_one(report: Report, name: str) -> tuple[float, float] | None:
    """Return the gradient norms of a loss at weight 1 and of all others; None if one is unknown."""
    row = report['losses'].get(name)
    others = [r['features'] for key, r in report['losses'].items() if key != name]
    others.append(report['task']['features'])
    if not row or not row['weight'] or None in (row['features'], *others):
        return None
    own = row['features'] / row['weight']
    return (own, sum(others)) if math.isfinite(own) else None


def _share(own: float, others: float) -> float:
    return own / (own + others) if own else 0.0


def _finite(**values: float | None) -> dict[str, float | None]:
    """Return the values with None in place of those that are not finite."""
    return {k: v if v is not None and math.isfinite(v) else None for k, v in values.items()}


def percent(share: float | None) -> str:
    """Format a share in percent."""
    value = math.nan if share is None else 100 * share
    return f'{value:.1f} %' if value >= 0.1 else f'{value:.1g} %'
