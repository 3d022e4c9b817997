"""Channel-wise divergence: independent values, void, and channels that differ."""

from pathlib import Path

import numpy as np
import pytest
import torch
from distillation.void_half import void_half
from numpy.typing import NDArray

from mmseg_kd.distillation import ChannelWiseDivergence

GOLDEN = np.load(Path(__file__).parents[1] / 'data' / 'kd_losses.npz')


def softmax(z: NDArray) -> NDArray:
    e = np.exp(z - z.max())
    return e / e.sum()


def by_loops(student: NDArray, teacher: NDArray, target: NDArray, temperature: float) -> float:
    """The paper's eq. 6 with the softmax over the places that are not 255."""
    value = 0.0
    for n, c in np.ndindex(student.shape[:2]):
        valid = target[n] != 255
        if valid.any():
            p = softmax(teacher[n, c][valid] / temperature)
            q = softmax(student[n, c][valid] / temperature)
            value += np.sum(p * np.log(p / q))
    return temperature**2 * value / student.shape[0] / student.shape[1]


@pytest.mark.parametrize('temperature', [1, 2, 4])
def test_golden_value(temperature: int) -> None:
    loss = ChannelWiseDivergence(temperature=temperature)
    logits = [torch.from_numpy(GOLDEN[f'{who}_logits']) for who in ('student', 'teacher')]
    expected = pytest.approx(float(GOLDEN[f'expected/cwd_T{temperature}']), rel=1e-5)
    assert float(loss(*logits)) == expected
    keep = ChannelWiseDivergence(temperature=temperature, ignore_index=None)
    assert float(keep(*logits, torch.from_numpy(GOLDEN['target']))) == expected


@pytest.mark.parametrize('temperature', [1.0, 4.0])
def test_independent_value_with_void(temperature: float) -> None:
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 3, 4, 5, 6)) * 3
    target = rng.integers(0, 4, (3, 5, 6))
    target[0, :2], target[1] = 255, 255
    value = ChannelWiseDivergence(temperature=temperature)(
        *map(torch.from_numpy, (student, teacher, target))
    )
    assert float(value) == pytest.approx(by_loops(student, teacher, target, temperature), rel=1e-9)


def test_void_pixels_change_nothing() -> None:
    student, teacher, noise = torch.randn(3, 2, 4, 8, 8)
    target, void = void_half()
    loss = ChannelWiseDivergence()
    value = loss(student, teacher, target)
    for factor in (1, 1e4, 1e30):
        other = [torch.where(void, factor * noise, x).requires_grad_() for x in (student, teacher)]
        changed = loss(*other, target)
        assert torch.equal(changed, value)
        changed.backward()
        assert not other[0].grad[..., :4].any()
        assert other[0].grad[..., 4:].all()


def test_a_wholly_void_image_gives_zero() -> None:
    student, teacher = torch.randn(2, 1, 4, 8, 8)
    student.requires_grad_()
    value = ChannelWiseDivergence()(student, teacher, torch.full((1, 8, 8), 255))
    value.backward()
    assert value.item() == 0
    assert not student.grad.any()


def test_stages_are_summed_at_their_own_size() -> None:
    maps = [(torch.randn(2, 4, n, n), torch.randn(2, 4, n, n)) for n in (16, 8)]
    target = torch.randint(0, 3, (2, 64, 64))
    target[:, :20] = 255
    loss = ChannelWiseDivergence(stages=['stage1', 'stage2'])
    value = loss(*zip(*maps, strict=True), target)
    one = ChannelWiseDivergence()
    assert float(value) == pytest.approx(sum(float(one(*pair, target)) for pair in maps))


def test_different_channels_are_named() -> None:
    loss = ChannelWiseDivergence(stages='stage4')
    with pytest.raises(ValueError, match=r"tap 'stage4' the student has 4 .* teacher 8.*FitNet"):
        loss(torch.randn(2, 4, 8, 8), torch.randn(2, 8, 8, 8))
