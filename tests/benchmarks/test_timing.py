"""Runs are timed in turns."""

import time

from measuring.timing import interleaved, ratio


def test_each_turn_times_the_second_call_of_each() -> None:
    ran = []

    def run(name: str, seconds: float) -> None:
        ran.append(name)
        time.sleep(seconds)

    runs = dict(slow=lambda: run('slow', 0.04), fast=lambda: run('fast', 0.01))
    seconds = interleaved(runs, repeats=2, warmup=1)
    assert ran == 3 * ['slow', 'slow', 'fast', 'fast']
    # A loaded machine may sleep longer, never shorter.
    assert [x >= 0.04 for x in seconds['slow']] == [True, True]
    assert [x >= 0.01 for x in seconds['fast']] == [True, True]


def test_ratios_are_of_one_turn_each() -> None:
    spread = ratio([6.0, 8.0, 30.0], [2.0, 4.0, 5.0])
    assert (spread.median, spread.least, spread.greatest, spread.n) == (3, 2, 6, 3)
