"""DIST: independent values, the axes of a map, void, and constant predictions."""

import numpy as np
import pytest
import torch
from distillation.void_half import void_half
from numpy.typing import NDArray

from mmseg_kd.distillation import DISTLoss


def rows(z: NDArray, target: NDArray, temperature: float) -> NDArray:
    """Probabilities (pixels that are not 255, K) of logits (N, K, H, W), pixel by pixel."""
    out = []
    for n, y, x in np.ndindex(target.shape):
        if target[n, y, x] != 255:
            e = np.exp(z[n, :, y, x] / temperature)
            out.append(e / e.sum())
    return np.array(out)


def by_loops(
    student: NDArray, teacher: NDArray, target: NDArray, temperature: float
) -> tuple[float, float]:
    """The inter-class and the intra-class term, T^2 included, with numpy's correlation."""
    q, p = rows(student, target, temperature), rows(teacher, target, temperature)
    inter = np.mean([1 - np.corrcoef(a, b)[0, 1] for a, b in zip(q, p, strict=True)])
    intra = np.mean([1 - np.corrcoef(a, b)[0, 1] for a, b in zip(q.T, p.T, strict=True)])
    return temperature**2 * float(inter), temperature**2 * float(intra)


@pytest.mark.parametrize('temperature', [1.0, 4.0])
def test_independent_value(temperature: float) -> None:
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 3, 5, 4, 6)) * 3
    target = rng.integers(0, 5, (3, 4, 6))
    loss = DISTLoss(temperature=temperature, beta=2.0, gamma=0.5)
    maps = torch.from_numpy(student), torch.from_numpy(teacher)
    inter, intra = by_loops(student, teacher, target, temperature)
    expected = pytest.approx(2 * inter + 0.5 * intra, rel=1e-6)
    assert float(loss(*maps)) == expected
    target[0, :3], target[1] = 255, 255
    keep = DISTLoss(temperature=temperature, beta=2.0, gamma=0.5, ignore_index=None)
    assert float(keep(*maps, torch.from_numpy(target))) == expected
    inter, intra = by_loops(student, teacher, target, temperature)
    for beta, gamma in ((1, 0), (0, 1), (2, 0.5)):
        loss = DISTLoss(temperature=temperature, beta=beta, gamma=gamma)
        assert float(loss(*maps, torch.from_numpy(target))) == pytest.approx(
            beta * inter + gamma * intra, rel=1e-6
        )


def test_pixels_of_all_images_are_one_set() -> None:
    # A correlation over the batch axis, or one per image, changes under this permutation.
    student, teacher = torch.randn(2, 3, 5, 4, 6, dtype=torch.float64)
    order = torch.randperm(3 * 4 * 6)

    def shuffled(x: torch.Tensor) -> torch.Tensor:
        pixels = x.permute(0, 2, 3, 1).reshape(-1, 5)[order]
        return pixels.reshape(3, 4, 6, 5).permute(0, 3, 1, 2)

    assert float(DISTLoss()(shuffled(student), shuffled(teacher))) == pytest.approx(
        float(DISTLoss()(student, teacher)), rel=1e-9
    )


def test_void_pixels_change_nothing() -> None:
    student, teacher, noise = torch.randn(3, 2, 4, 8, 8)
    target, void = void_half()
    value = DISTLoss()(student, teacher, target)
    other = [torch.where(void, 100 * noise, x).requires_grad_() for x in (student, teacher)]
    changed = DISTLoss()(*other, target)
    assert torch.equal(changed, value)
    changed.backward()
    assert not other[0].grad[..., :4].any()


def test_all_void_images_give_zero() -> None:
    student, teacher = torch.randn(2, 2, 4, 8, 8)
    student.requires_grad_()
    value = DISTLoss()(student, teacher, torch.full((2, 8, 8), 255))
    value.backward()
    assert value.item() == 0
    assert not student.grad.any()


def test_constant_predictions() -> None:
    # Without a correlation each term is 1/2.
    varied, constant = torch.randn(2, 12, 64, 64), torch.zeros(2, 12, 64, 64)
    assert float(DISTLoss()(constant, varied)) == pytest.approx(0.5 + 0.5, rel=1e-3)
    # The mean of equal probabilities is rounded; the rounding error must not count.
    assert float(DISTLoss()(constant + 0.3, constant)) == pytest.approx(0, abs=1e-3)
