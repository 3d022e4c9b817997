"""ChannelGroupDivergenceLoss: independent values, groups that do not divide, and a group of one."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mmseg_kd.distillation import ChannelGroupDivergenceLoss, ChannelWiseDivergence


def softmax(z: NDArray) -> NDArray:
    e = np.exp(z - z.max())
    return e / e.sum()


def by_loops(
    student: NDArray, teacher: NDArray, target: NDArray, group_size: int, temperature: float
) -> float:
    """One softmax over the channels of a group and the places that are not 255."""
    values = []
    for n in range(len(student)):
        valid = target[n] != 255
        for first in range(0, student.shape[1], group_size):
            group = slice(first, first + group_size)
            p, q = (
                softmax(x[n, group][:, valid].ravel() / temperature) if valid.any() else np.ones(1)
                for x in (teacher, student)
            )
            values.append(np.sum(p * np.log(p / q)))
    return temperature**2 * float(np.mean(values))


@pytest.mark.parametrize('group_size', [1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize('temperature', [1.0, 2.0])
def test_independent_value(group_size: int, temperature: float) -> None:
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 3, 7, 5, 6)) * 3
    target = rng.integers(0, 4, (3, 5, 6))
    target[0, :2], target[1] = 255, 255
    loss = ChannelGroupDivergenceLoss(group_size, temperature)
    value = loss(*map(torch.from_numpy, (student, teacher, target)))
    expected = by_loops(student, teacher, target, group_size, temperature)
    assert float(value) == pytest.approx(expected, rel=1e-9)


def test_a_group_of_one_is_the_channel_wise_divergence() -> None:
    student, teacher = torch.randn(2, 2, 5, 8, 8)
    value = ChannelGroupDivergenceLoss(group_size=1, temperature=4.0)(student, teacher)
    assert torch.equal(value, ChannelWiseDivergence(temperature=4.0)(student, teacher))


def test_it_reads_how_strong_channels_are_relative_to_each_other() -> None:
    student = torch.randn(2, 4, 8, 8)
    teacher = student + torch.tensor([0.0, 1.0, 2.0, 3.0])[:, None, None]
    assert float(ChannelWiseDivergence()(student, teacher)) == pytest.approx(0, abs=1e-6)
    assert float(ChannelGroupDivergenceLoss(group_size=2)(student, teacher)) > 0.1


def test_a_group_larger_than_the_map_is_named() -> None:
    x = torch.randn(2, 3, 8, 8)
    with pytest.raises(ValueError, match='group_size=4 is more than the 3 channels'):
        ChannelGroupDivergenceLoss(group_size=4)(x, x)
