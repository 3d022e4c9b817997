"""KL of standardised logits, and a temperature that a schedule sets."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mmseg_kd.distillation import ChannelWiseDivergence, DISTLoss, KDLoss, KLDivergenceLoss
from mmseg_kd.errors import UserError


def softmax(z: NDArray) -> NDArray:
    e = np.exp(z - z.max())
    return e / e.sum()


def by_loops(student: NDArray, teacher: NDArray, target: NDArray, temperature: float) -> float:
    """KL over the classes of each pixel's z-scores, mean over the pixels that are not 255."""
    values = []
    for n, y, x in np.ndindex(target.shape):
        if target[n, y, x] == 255:
            continue
        s, t = student[n, :, y, x], teacher[n, :, y, x]
        p = softmax((t - t.mean()) / t.std() / temperature)
        q = softmax((s - s.mean()) / s.std() / temperature)
        values.append(temperature**2 * np.sum(p * np.log(p / q)))
    return float(np.mean(values))


@pytest.mark.parametrize('temperature', [1.0, 2.0])
def test_independent_value(temperature: float) -> None:
    rng = np.random.default_rng(0)
    # Non-square, with as many columns as there are classes: the axis must be the channels.
    student, teacher = rng.normal(size=(2, 2, 5, 4, 5)) * 3
    target = rng.integers(0, 5, (2, 4, 5))
    target[0, :2] = 255
    loss = KLDivergenceLoss(temperature=temperature, standardize=True)
    value = loss(*map(torch.from_numpy, (student, teacher, target)))
    assert float(value) == pytest.approx(by_loops(student, teacher, target, temperature), rel=1e-6)


def test_scale_and_offset_of_the_logits_do_not_matter() -> None:
    student, teacher = torch.randn(2, 2, 5, 8, 8, dtype=torch.float64)
    scale, offset = torch.rand(2, 1, 8, 8).double() * 5 + 1, torch.randn(2, 1, 8, 8).double()
    loss = KLDivergenceLoss(standardize=True)
    assert float(loss(student * scale + offset, teacher)) == pytest.approx(
        float(loss(student, teacher)), rel=1e-6
    )
    assert float(loss(3 * teacher, teacher)) == pytest.approx(0, abs=1e-12)


SCHEDULE = dict(type='LinearWarmup', value=4.0, end=10)


@pytest.mark.parametrize('kind', [KLDivergenceLoss, ChannelWiseDivergence, DISTLoss])
def test_a_scheduled_temperature(kind: type[KDLoss]) -> None:
    student, teacher = torch.randn(2, 2, 5, 8, 8)
    loss = kind(temperature=SCHEDULE)
    loss.iteration = 5
    assert torch.equal(loss(student, teacher), kind(temperature=2.0)(student, teacher))
    loss.iteration = 0
    with pytest.raises(UserError, match=rf'^{kind.__name__}: temperature is 0 in iteration 0; .*$'):
        loss(student, teacher)


def test_a_temperature_is_checked_where_the_loss_has_a_weight() -> None:
    falls = dict(type='LinearDecay', value=4.0, end=10)
    loss = KLDivergenceLoss(temperature=falls)
    # As with a CUDA graph, whose replay does not call current_temperature.
    loss.put_numbers_on(torch.device('cpu'))
    loss.set_iteration(9)
    with pytest.raises(UserError, match='temperature is 0 in iteration 10'):
        loss.set_iteration(10)
    stopped = dict(type='Stop', value=1.0, at_iter=10)
    KLDivergenceLoss(temperature=falls, loss_weight=stopped).set_iteration(10)
