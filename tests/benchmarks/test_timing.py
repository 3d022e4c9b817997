"""Runs are timed in turns."""

import pytest

from measuring import timing
from measuring.timing import interleaved, ratio, seconds_of


def test_each_turn_times_the_second_call_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    # The n-th call takes n seconds.
    ran, clock = [], [0]
    monkeypatch.setattr(timing, 'now', lambda: clock[0])

    def run(name: str) -> None:
        ran.append(name)
        clock[0] += len(ran)

    runs = dict(slow=lambda: run('slow'), fast=lambda: run('fast'))
    seconds = interleaved(runs, repeats=2, warmup=1)
    assert ran == 3 * ['slow', 'slow', 'fast', 'fast']
    assert seconds == dict(slow=[6, 10], fast=[8, 12])
    # After call 13, the mean of 14, 15 and 16.
    assert seconds_of(lambda: run('more'), 3) == 15


def test_ratios_are_of_one_turn_each() -> None:
    spread = ratio([6.0, 8.0, 30.0], [2.0, 4.0, 5.0])
    assert (spread.median, spread.least, spread.greatest, spread.n) == (3, 2, 6, 3)
