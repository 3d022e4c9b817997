"""The statistics, compared with SciPy's."""

import numpy as np
import pytest
import scipy.stats

from mmseg_kd.records.message import MINUS
from mmseg_kd.reports.comparing.statistics import paired_difference, sentence, t_interval

SAMPLES = [
    [1.3, 0.9, 1.7],
    [0.4, -0.2, 0.9, 1.4, 0.1],
    list(np.random.default_rng(3).gamma(2.0, size=30)),
]


@pytest.mark.parametrize('sample', SAMPLES, ids=len)
def test_the_t_interval_is_scipys(sample: list[float]) -> None:
    result = scipy.stats.ttest_1samp(sample, 0).confidence_interval(0.95)
    assert t_interval(sample) == pytest.approx((result.low, result.high))


def test_seeds_are_paired() -> None:
    compared = paired_difference({0: 41.0, 1: 43.0, 7: 99.0}, {1: 42.0, 0: 40.5, 2: 1.0})
    assert compared.seeds == (0, 1)
    assert compared.differences == (0.5, 1.0)
    assert paired_difference({0: 1.0}, {1: 1.0}) is None


@pytest.mark.parametrize(
    ('group', 'verdict', 'words'),
    [
        (
            (41.3, 42.2, 40.9),
            'better',
            'beats base by 1.47 mIoU11 (3 seeds, 95 % interval [+0.53, +2',
        ),
        (
            (38.7, 39.9, 37.6),
            'worse',
            f'is below base by 1.27 mIoU11 (3 seeds, 95 % interval [{MINUS}1',
        ),
        ((41.0, 39.9, 40.0), 'noise', 'is within noise of base: +0.30'),
        ((49.0, 50.0), 'few seeds', 'kd: +9.00 mIoU11 against base, seeds in common: 2. Too few'),
        ((49.0,), 'few seeds', 'seeds in common: 1. Too few seeds to tell'),
    ],
)
def test_the_sentence_says_no_more_than_the_numbers(
    group: tuple[float, ...], verdict: str, words: str
) -> None:
    base = dict(enumerate((40.0, 41.0, 39.0)))
    compared = paired_difference(dict(enumerate(group)), base)
    assert compared.verdict == verdict
    assert words in str(sentence('kd', 'base', 'mIoU11', compared))


def test_two_seeds_have_no_interval() -> None:
    compared = paired_difference({0: 41.0, 1: 42.0}, {0: 40.0, 1: 40.0})
    assert (compared.mean, compared.t_interval) == (1.5, None)


def test_equal_differences() -> None:
    compared = paired_difference({0: 41.0, 1: 42.0, 2: 7.0}, {0: 40.0, 1: 41.0, 2: 6.0})
    assert compared.t_interval == (1.0, 1.0)
    assert compared.verdict == 'better'
