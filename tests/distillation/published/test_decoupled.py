"""DecoupledKDLoss: independent values, its sum with KL, and pixels without a class."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mmseg_kd.distillation import DecoupledKDLoss, KLDivergenceLoss


def softmax(z: NDArray) -> NDArray:
    e = np.exp(z - z.max())
    return e / e.sum()


def parts(z: NDArray, label: int, temperature: float) -> tuple[NDArray, NDArray]:
    """The two-way distribution of the label against the rest, and that of the other classes."""
    p = softmax(z / temperature)
    others = np.delete(z, label) / temperature
    return np.array([p[label], 1 - p[label]]), softmax(others)


def by_loops(
    student: NDArray, teacher: NDArray, target: NDArray, temperature: float
) -> tuple[float, float]:
    """TCKD and NCKD averaged over the pixels whose label is a class."""
    target_kl, other_kl = [], []
    for n, y, x in np.ndindex(target.shape):
        label = target[n, y, x]
        if not 0 <= label < student.shape[1]:
            continue
        p, p_others = parts(teacher[n, :, y, x], label, temperature)
        q, q_others = parts(student[n, :, y, x], label, temperature)
        target_kl.append(np.sum(p * np.log(p / q)))
        other_kl.append(np.sum(p_others * np.log(p_others / q_others)))
    return temperature**2 * np.mean(target_kl), temperature**2 * np.mean(other_kl)


@pytest.fixture
def maps() -> tuple[NDArray, NDArray, NDArray]:
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 2, 4, 5, 6)) * 3
    target = rng.integers(0, 4, (2, 5, 6))
    target[0, :2], target[1, 0, 0] = 255, 7
    return student, teacher, target


@pytest.mark.parametrize('temperature', [1.0, 4.0])
@pytest.mark.parametrize(('alpha', 'beta'), [(1.0, 8.0), (1.0, 0.0), (0.0, 0.5)])
def test_independent_value(
    maps: tuple[NDArray, NDArray, NDArray], temperature: float, alpha: float, beta: float
) -> None:
    loss = DecoupledKDLoss(alpha, beta, temperature=temperature)
    target_kl, other_kl = by_loops(*maps, temperature)
    value = float(loss(*map(torch.from_numpy, maps)))
    assert value == pytest.approx(alpha * target_kl + beta * other_kl, rel=1e-9)


def test_kl_is_the_sum_where_the_teacher_is_the_same_everywhere(
    maps: tuple[NDArray, NDArray, NDArray],
) -> None:
    # KL = TCKD + (1 - p_y) NCKD, with one p_y for all pixels.
    student, teacher, target = (torch.from_numpy(x) for x in maps)
    teacher[:] = teacher[:1, :, :1, :1]
    target[:] = 2
    rest = 1 - (teacher[0, :, 0, 0] / 4).softmax(dim=0)[2]
    loss = DecoupledKDLoss(alpha=1.0, beta=float(rest))
    expected = KLDivergenceLoss()(student, teacher)
    assert float(loss(student, teacher, target)) == pytest.approx(float(expected), rel=1e-9)


def test_pixels_without_a_class_change_nothing() -> None:
    noise, student, teacher = torch.randn(3, 2, 4, 8, 8)
    target = torch.randint(0, 4, (2, 32, 32))
    target[:, :, :16] = 255
    loss = DecoupledKDLoss()
    void = torch.zeros(8, 8, dtype=torch.bool)
    void[:, :4] = True
    value = float(loss(student, teacher, target))
    others = [torch.where(void, 100 * noise, x) for x in (student, teacher)]
    assert float(loss(*others, target)) == pytest.approx(value, rel=1e-6)
    # Also without ignore_index 255 is not a class.
    assert float(DecoupledKDLoss(ignore_index=None)(student, teacher, target)) == value
    assert float(loss(student, teacher, torch.full_like(target, 255))) == 0
    # A class as void, as `Unlabelled` is in the 12-class configs.
    masked = DecoupledKDLoss(ignore_index=3)(student, teacher, target)
    expected = loss(student, teacher, target.masked_fill(target == 3, 255))
    assert float(masked) == float(expected)


def test_exact_where_the_label_is_certain() -> None:
    # The label's logit is 200 above: in probabilities 1 - p_y would be 0 and the gradient lost.
    student = torch.tensor([200.0, 0.0, 0.0]).reshape(1, 3, 1, 1).requires_grad_()
    teacher = torch.tensor([200.0, 1.0, 0.0]).reshape(1, 3, 1, 1)
    loss = DecoupledKDLoss(alpha=0.0, beta=1.0, temperature=1.0)
    value = loss(student, teacher, torch.zeros(1, 1, 1, dtype=torch.long))
    value.backward()
    p = 1 / (1 + np.exp(-1.0))
    expected = p * np.log(2 * p) + (1 - p) * np.log(2 * (1 - p))
    assert float(value) == pytest.approx(expected, rel=1e-6)
    assert student.grad.flatten().tolist() == pytest.approx([0, 0.5 - p, p - 0.5], abs=1e-6)
