"""Weights and temperatures by iteration."""

import math

import pytest

from mmseg_kd.distillation import KLDivergenceLoss
from mmseg_kd.distillation.gradients import GradientShare, share_of
from mmseg_kd.distillation.schedules import scheduled


@pytest.mark.parametrize(
    ('schedule', 'expected'),
    [
        (2.5, {0: 2.5, 99: 2.5}),
        (dict(type='LinearWarmup', value=4.0, end=10), {0: 0.0, 5: 2.0, 10: 4.0, 99: 4.0}),
        (dict(type='LinearWarmup', value=4.0, begin=10, end=20, start=0.5), {0: 2.0, 15: 3.0}),
        (
            dict(type='CosineDecay', value=2.0, begin=10, end=20),
            {0: 2.0, 10: 2.0, 12: 1 + math.cos(0.2 * math.pi), 15: 1.0, 20: 0.0, 99: 0.0},
        ),
        (dict(type='LinearDecay', value=2.0, begin=10, end=20, stop=0.5), {12: 1.8, 99: 1.0}),
        (dict(type='Stop', value=3.0, at_iter=7), {6: 3.0, 7: 0.0, 99: 0.0}),
        (dict(type='Milestones', value=1.0, milestones=[3, 6], gamma=0.5), {2: 1, 3: 0.5, 6: 0.25}),
        (
            dict(type='LinearWarmup', end=10, value=dict(type='Stop', value=2.0, at_iter=20)),
            {5: 1.0, 19: 2.0, 20: 0.0},
        ),
    ],
)
def test_value_by_iteration(schedule: object, expected: dict) -> None:
    loss = KLDivergenceLoss(loss_weight=schedule)
    for iteration, value in expected.items():
        loss.iteration = iteration
        assert loss.weight == pytest.approx(value, abs=1e-12), iteration


@pytest.mark.parametrize(
    ('schedule', 'message'),
    [
        (dict(type='LinearWarmup', value=1.0, begin=5, end=5), 'end=5 must be after begin=5'),
        (dict(type='LinearWarmup', value=1.0, begin=-5, end=5), 'begin=-5, and begin at least 0'),
        (dict(type='LinearWarmup', value=1.0, end=5, start=-1), 'start=-1 must be at least 0'),
        (dict(type='CosineDecay', value=1.0, end=5, stop=-0.5), 'CosineDecay: stop=-0.5 must be'),
        (dict(type='Milestones', value=1.0, milestones=[3], gamma=math.nan), 'gamma=nan must be'),
        (dict(type='Milestones', value=1.0, milestones=[6, 3]), 'do not ascend'),
        (dict(type='Stop', value='a', at_iter=3), "'a' is neither a number"),
        (dict(value=1.0), 'nor a schedule'),
        (True, 'nor a schedule'),
        (dict(type='GradientShare', share=1.0), 'not between 0 and 1'),
        (dict(type='GradientShare', share=0.1, interval=0), 'interval=0'),
        (dict(type='GradientShare', share=0.1, begin=500), 'until=500'),
    ],
)
def test_wrong_schedules_are_named(schedule: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scheduled(schedule)


def test_a_share_averages_what_is_measured() -> None:
    share = GradientShare(0.1, interval=2, until=6, momentum=0.5)
    assert [i for i in range(10) if share.due(i)] == [0, 2, 4]
    for measured, expected in ((4.0, 4.0), (2.0, 3.0), (1.0, 2.0)):
        share.update(measured)
        assert share.at(0) == pytest.approx(expected)
    again = GradientShare(0.1)
    again.load_state_dict(share.state_dict())
    assert again.at(0) == share.at(0)
    assert again.measurements == 3


def test_a_share_is_found_in_the_schedules_around_it() -> None:
    weight = scheduled(dict(type='Stop', at_iter=3, value=dict(type='GradientShare', share=0.3)))
    assert share_of(weight).share == 0.3
    assert share_of(scheduled(dict(type='Stop', at_iter=3, value=1.0))) is None
    assert share_of(2.0) is None
