"""Statistics of the difference between two groups of runs, paired by seed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean, stdev
from typing import NamedTuple

from scipy import stats

from mmseg_kd.records.message import NONE, Message, messages, number

CONFIDENCE = 0.95
# With two differences the interval has one degree of freedom and is too wide to be of use.
FEWEST_SEEDS = 3
VERDICTS = ('better', 'worse', 'noise', 'few seeds')


class PairedDifference(NamedTuple):
    """The differences of two groups of runs, seed by seed.

    Attributes:
        seeds: Seeds that both groups have.
        differences: Group minus baseline, for each seed.
        mean: Their mean.
        sd: Their standard deviation (n - 1); None for one seed.
        confidence: That of `t_interval`.
    """

    seeds: tuple[int, ...]
    differences: tuple[float, ...]
    mean: float
    sd: float | None
    confidence: float

    @property
    def t_interval(self) -> tuple[float, float] | None:
        """Confidence interval of the mean, from Student's t; None below 3 seeds."""
        enough = len(self.seeds) >= FEWEST_SEEDS
        return t_interval(self.differences, self.confidence) if enough else None

    @property
    def verdict(self) -> str:
        """One of `VERDICTS`: better or worse only where the t interval excludes 0."""
        if (interval := self.t_interval) is None:
            return 'few seeds'
        low, high = interval
        return 'better' if low > 0 else 'worse' if high < 0 else 'noise'


def mean_and_sd(values: Sequence[float]) -> tuple[float, float | None]:
    """Return mean and standard deviation (n - 1); the latter is None for one value."""
    return fmean(values), stdev(values) if len(values) > 1 else None


def paired_difference(
    group: Mapping[int, float], baseline: Mapping[int, float], comparisons: int = 1
) -> PairedDifference | None:
    """Compare two groups by seed: runs with one seed see the same data in the same order.

    Args:
        group: Score by seed.
        baseline: Score by seed.
        comparisons: Number of intervals that hold together with 95 % confidence (Bonferroni's
            correction).

    Returns:
        The comparison, or None where the groups have no seed in common.
    """
    seeds = tuple(sorted(set(group) & set(baseline)))
    if not seeds:
        return None
    differences = tuple(group[seed] - baseline[seed] for seed in seeds)
    confidence = 1 - (1 - CONFIDENCE) / comparisons
    return PairedDifference(seeds, differences, *mean_and_sd(differences), confidence)


def half_width(sd: float, count: int, confidence: float = CONFIDENCE) -> float:
    """Return half the width of the t interval of a mean of `count` values."""
    return float(stats.t.ppf((1 + confidence) / 2, count - 1)) * sd / math.sqrt(count)


def t_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the confidence interval of the mean of two or more values by Student's t."""
    mean, half = fmean(values), half_width(stdev(values), len(values), confidence)
    return mean - half, mean + half


def interval_text(compared: PairedDifference | None) -> str:
    """Format the confidence interval of a difference."""
    interval = compared and compared.t_interval
    return f'[{", ".join(number(end, "+.2f") for end in interval)}]' if interval else NONE


def sentence(name: str, baseline: str, metric: str, compared: PairedDifference) -> Message:
    """Describe a comparison.

    Args:
        name: The group.
        baseline: The group that it is compared with.
        metric: Name of the metric, in whose points the differences are.
        compared: Group minus baseline.
    """
    sentences = messages(
        '{name} beats {baseline} by {size} {metric} ({n} seeds, {percent} % interval {interval}).',
        '{name} is below {baseline} by {size} {metric} ({n} seeds, {percent} % interval '
        '{interval}).',
        '{name} is within noise of {baseline}: {mean} {metric} ({n} seeds, {percent} % interval '
        '{interval}).',
        '{name}: {mean} {metric} against {baseline}, seeds in common: {n}. Too few seeds to '
        'tell a real difference from luck: at least {least} are needed.',
    )
    mean, count = number(compared.mean, '+.2f'), len(compared.seeds)
    values = dict(name=name, baseline=baseline, metric=metric, n=count)
    values |= dict(mean=mean, size=mean[1:], least=FEWEST_SEEDS)
    values |= dict(interval=interval_text(compared), percent=f'{100 * compared.confidence:.3g}')
    return replace(sentences[VERDICTS.index(compared.verdict)], values=values)
