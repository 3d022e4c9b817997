"""What is timed is the run, in turns."""

import time

import pytest

from mmseg_kd.benchmark.measure import interleaved, ratio


@pytest.mark.parametrize(('settle', 'calls'), [(True, 2), (False, 1)])
def test_each_turn_times_one_call_of_each(settle: bool, calls: int) -> None:
    ran = []

    def run(name: str, seconds: float) -> None:
        ran.append(name)
        time.sleep(seconds)

    runs = dict(slow=lambda: run('slow', 0.04), fast=lambda: run('fast', 0.01))
    seconds = interleaved(runs, repeats=2, warmup=1, settle=settle)
    assert ran == 3 * (calls * ['slow'] + calls * ['fast'])
    assert all(0.04 <= x < 0.08 for x in seconds['slow'])
    assert all(0.01 <= x < 0.04 for x in seconds['fast'])
    spread = ratio(seconds['slow'], seconds['fast'])
    assert spread.n == 2 and 1 < spread.least <= spread.median <= spread.greatest
