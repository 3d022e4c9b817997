"""The loss of the directions of edges: NumPy's values, and what does not change it."""

import numpy as np
import pytest
import torch

from mmseg_kd.distillation import EdgeDirectionLoss

SHAPE = (2, 3, 5, 6)


def maps() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, *SHAPE, generator=generator, dtype=torch.float64).unbind()


def labels() -> torch.Tensor:
    target = torch.zeros(SHAPE[0], *SHAPE[2:], dtype=torch.long)
    target[1, 3:, :2] = 255
    return target


def expected(student: torch.Tensor, teacher: torch.Tensor, valid: np.ndarray) -> float:
    """The loss by its formula, one face after another."""
    s, t = (x.numpy() - x.numpy().mean(axis=1, keepdims=True) for x in (student, teacher))
    images, channels, height, width = SHAPE
    total = 0.0
    for n in range(images):
        pairs = []
        for c, i, j in np.ndindex(channels, height - 1, width - 1):
            if valid[n, i : i + 2, j : j + 2].all():
                pairs.append([slope(x[n, c, i : i + 2, j : j + 2]) for x in (s, t)])
        mean = np.mean([theirs @ theirs for _, theirs in pairs])
        e = 0.01 * mean
        for ours, theirs in pairs:
            cosine = ours @ theirs / np.sqrt((ours @ ours) * (theirs @ theirs))
            squared = (theirs @ theirs) * (ours @ ours) * (1 - cosine**2)
            difference = (theirs - ours) @ (theirs - ours)
            distance = (squared + e * difference) / (ours @ ours + e)
            total += distance / (mean * len(pairs) * images)
    return total


def slope(square: np.ndarray) -> np.ndarray:
    (a, b), (c, d) = square
    return np.array([b - a + d - c, c - a + d - b]) / 2


@pytest.mark.parametrize('void', [False, True])
def test_values_of_numpy(void: bool) -> None:
    student, teacher = maps()
    value = EdgeDirectionLoss()(student, teacher, labels() if void else None)
    valid = (labels().numpy() != 255) | (not void)
    assert float(value) == pytest.approx(expected(student, teacher, valid), rel=1e-9)


def test_a_ramp_by_hand() -> None:
    # Both ramps rise by 1 per pixel, at an angle of 45 degrees: 1 - cos^2 is 1/2.
    across = torch.arange(6.0, dtype=torch.float64).expand(1, 1, 6, 6)
    loss = EdgeDirectionLoss(centre=False)
    diagonal = loss(10 * (across + across.mT), across)
    # e of 1 % of the teacher's mean moves it by a thousandth.
    assert float(diagonal) == pytest.approx(0.5, abs=0.01)
    assert float(loss(across.mT, across)) == pytest.approx(1, abs=0.02)


def test_the_height_of_edges_and_a_constant_are_hardly_seen() -> None:
    student, teacher = maps()
    loss = EdgeDirectionLoss()
    assert float(loss(3 * teacher, teacher)) < 0.01 < 0.3 < float(loss(student, teacher))
    offset = torch.randn(2, 1, *SHAPE[2:], dtype=torch.float64)
    assert float(loss(student + offset, teacher)) == pytest.approx(
        float(loss(student, teacher)), rel=1e-9
    )


def test_a_flat_student_is_1_and_a_flat_teacher_hardly_counts() -> None:
    _, teacher = maps()
    flat = torch.zeros_like(teacher)
    assert float(EdgeDirectionLoss()(flat, teacher, labels())) == pytest.approx(1, rel=1e-9)
    assert float(EdgeDirectionLoss()(teacher, flat)) <= 0.01
    void = torch.full((SHAPE[0], *SHAPE[2:]), 255)
    assert float(EdgeDirectionLoss()(flat, teacher, void)) == 0


def test_flip_equivariance() -> None:
    taps = [*maps(), labels()]
    loss = EdgeDirectionLoss()
    for dim in (-1, -2):
        flipped = loss(*(x.flip(dim) for x in taps))
        assert float(flipped) == pytest.approx(float(loss(*taps)), rel=1e-9)


def test_void_pixels_have_no_gradient() -> None:
    student, teacher = maps()
    student.requires_grad_()
    EdgeDirectionLoss()(student, teacher, labels()).backward()
    # Faces with a void corner are left out.
    assert not student.grad[1, :, 3:, :2].any()
    assert student.grad[0].all()
