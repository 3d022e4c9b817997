"""Whether a difference between two groups of runs is more than the luck of their seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev

import numpy as np

from mmseg_kd.records.message import Message, say

# Two-sided 95 %.
TAILS = 0.025, 0.975
RESAMPLES = 10_000
# An interval from two differences rests on a single degree of freedom.
FEWEST_SEEDS = 3


@dataclass(frozen=True)
class PairedDifference:
    """The differences of two groups of runs, seed by seed.

    Attributes:
        seeds: Seeds that both groups have.
        differences: Group minus baseline, of each of them.
        mean: Their mean.
        sd: Their standard deviation (n - 1); None from one seed.
        t_interval: 95 % confidence interval of the mean, from Student's t; None below 3 seeds.
        bootstrap: The same from the bootstrap (BCa); None below 3 seeds or of equal differences.
        sign_p: p of the two-sided sign test; None below 3 seeds or where all differences are 0.
    """

    seeds: tuple[int, ...]
    differences: tuple[float, ...]
    mean: float
    sd: float | None
    t_interval: tuple[float, float] | None
    bootstrap: tuple[float, float] | None
    sign_p: float | None

    @property
    def verdict(self) -> str:
        """'better' or 'worse' where the t interval leaves 0 out, else 'noise'; or 'few seeds'."""
        if self.t_interval is None:
            return 'few seeds'
        low, high = self.t_interval
        return 'better' if low > 0 else 'worse' if high < 0 else 'noise'


def mean_and_sd(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and standard deviation (n - 1); the latter is None for one value."""
    return fmean(values), stdev(values) if len(values) > 1 else None


def paired_difference(
    group: Mapping[int, float], baseline: Mapping[int, float]
) -> PairedDifference | None:
    """Compare two groups by their seeds: runs of one seed saw the same data in the same order.

    Args:
        group: Score by seed.
        baseline: Score by seed.

    Returns:
        The comparison, or None where the groups have no seed in common.
    """
    seeds = tuple(sorted(set(group) & set(baseline)))
    if not seeds:
        return None
    differences = tuple(group[seed] - baseline[seed] for seed in seeds)
    mean, sd = mean_and_sd(differences)
    if len(seeds) < FEWEST_SEEDS:
        return PairedDifference(seeds, differences, mean, sd, None, None, None)
    return PairedDifference(
        seeds,
        differences,
        mean,
        sd,
        t_interval(differences),
        bootstrap_interval(differences),
        sign_test(differences),
    )


def t_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % confidence interval of a mean by Student's t; None for fewer than two values."""
    if len(values) < 2:
        return None
    mean, sd = mean_and_sd(values)
    half = t_quantile(TAILS[1], len(values) - 1) * sd / math.sqrt(len(values))
    return mean - half, mean + half


def bootstrap_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of a mean by the bias-corrected and accelerated bootstrap (Efron, JASA 1987).

    Args:
        values: The sample. Of three or four values the interval is too narrow.

    Returns:
        The interval, or None for fewer than two values or equal ones.
    """
    sample = np.asarray(values, dtype=float)
    if len(sample) < 2 or np.ptp(sample) == 0:
        return None
    indices = np.random.default_rng(0).integers(len(sample), size=(RESAMPLES, len(sample)))
    means = sample[indices].mean(axis=1)
    normal = NormalDist()
    below = (np.mean(means < sample.mean()) + np.mean(means <= sample.mean())) / 2
    bias = normal.inv_cdf(min(max(below, 1 / RESAMPLES), 1 - 1 / RESAMPLES))
    # The jackknife's means of a mean: linear in the values.
    deviation = sample - sample.mean()
    acceleration = (deviation**3).sum() / (6 * (deviation**2).sum() ** 1.5)
    ends = []
    for tail in TAILS:
        z = bias + normal.inv_cdf(tail)
        ends.append(float(np.quantile(means, normal.cdf(bias + z / (1 - acceleration * z)))))
    return ends[0], ends[1]


def sign_test(differences: Sequence[float]) -> float | None:
    """Two-sided p of as many equal signs if both were equally likely; zeros do not count."""
    signs = [d > 0 for d in differences if d != 0]
    if not signs:
        return None
    n, more = len(signs), max(sum(signs), len(signs) - sum(signs))
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(more, n + 1)) / 2**n)


def t_cdf(t: float, dof: int) -> float:
    """Student's t distribution function for whole degrees of freedom.

    The finite series of Abramowitz and Stegun, Handbook of Mathematical Functions (1964),
    26.7.3 and 26.7.4.
    """
    theta = math.atan(t / math.sqrt(dof))
    cos2 = math.cos(theta) ** 2
    if dof % 2:
        term = total = math.cos(theta) if dof > 1 else 0.0
        for k in range(3, dof - 1, 2):
            term *= cos2 * (k - 1) / k
            total += term
        between = 2 / math.pi * (theta + math.sin(theta) * total)
    else:
        term = total = 1.0
        for k in range(2, dof - 1, 2):
            term *= cos2 * (k - 1) / k
            total += term
        between = math.sin(theta) * total
    return (1 + between) / 2


def t_quantile(probability: float, dof: int) -> float:
    """Inverse of `t_cdf` for a probability of at least one half, by bisection."""
    low, high = 0.0, 1.0
    while t_cdf(high, dof) < probability:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if t_cdf(middle, dof) < probability else (low, middle)
    return (low + high) / 2


def sentence(name: str, baseline: str, metric: str, compared: PairedDifference) -> Message:
    """Say what a comparison shows, and no more than it shows.

    Args:
        name: The group.
        baseline: What it is compared with.
        metric: Of what the differences are, in points.
        compared: Group minus baseline.
    """
    values = dict(name=name, baseline=baseline, metric=metric, n=len(compared.seeds))
    if compared.verdict == 'few seeds':
        return say(
            '{name}: {mean} {metric} against {baseline}, seeds in common: {n}. Too few seeds to '
            'tell a real difference from luck: at least {least} are needed.',
            mean=f'{compared.mean:+.2f}',
            least=FEWEST_SEEDS,
            **values,
        )
    low, high = compared.t_interval
    values |= dict(mean=f'{abs(compared.mean):.2f}', half=f'{(high - low) / 2:.2f}')
    if compared.verdict == 'better':
        return say('{name} beats {baseline} by {mean} ± {half} {metric} ({n} seeds).', **values)
    if compared.verdict == 'worse':
        return say('{name} is below {baseline} by {mean} ± {half} {metric} ({n} seeds).', **values)
    values['mean'] = f'{compared.mean:+.2f}'
    return say(
        '{name} is within noise of {baseline}: {mean} ± {half} {metric} ({n} seeds).', **values
    )
