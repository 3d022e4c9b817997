"""HaarDetailLoss: an orthonormal transform, independent values, odd sizes and void."""

import numpy as np
import pytest
import torch
from distillation.void_half import void_half
from numpy.typing import NDArray

from mmseg_kd.distillation import HaarDetailLoss
from mmseg_kd.distillation.losses.features.haar_detail import haar


def standardised(x: NDArray, valid: NDArray) -> NDArray:
    """Each channel (C, H, W) to mean 0 and standard deviation 1 over the valid pixels."""
    mean = x[:, valid].mean(axis=1)[:, None, None]
    return (x - mean) / x[:, valid].std(axis=1)[:, None, None]


def repeated(x: NDArray) -> NDArray:
    """Repeat the last row and column (of the last two axes) of an odd size."""
    pad = [(0, 0)] * (x.ndim - 2) + [(0, x.shape[-2] % 2), (0, x.shape[-1] % 2)]
    return np.pad(x, pad, mode='edge')


def by_loops(student: NDArray, teacher: NDArray, target: NDArray, levels: int) -> float:
    """The mean absolute coefficients of the three detail bands, block by block."""
    sums, counts = np.zeros(levels), np.zeros(levels)
    for n in range(len(student)):
        valid = target[n] != 255
        if not valid.any():
            continue
        low = standardised(student[n], valid) - standardised(teacher[n], valid)
        for level in range(levels):
            low, valid = repeated(low), repeated(valid)
            channels, height, width = low.shape
            smaller = np.zeros((channels, height // 2, width // 2))
            kept = np.zeros((height // 2, width // 2), dtype=bool)
            for y, x in np.ndindex(kept.shape):
                block = low[:, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].reshape(channels, 4)
                kept[y, x] = valid[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].all()
                smaller[:, y, x] = block @ [0.5, 0.5, 0.5, 0.5]
                if kept[y, x]:
                    bands = np.array([[1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2
                    sums[level] += np.abs(block @ bands.T).sum()
                    counts[level] += channels
            low, valid = smaller, kept
    return float(np.sum(sums / np.maximum(counts, 1)))


@pytest.mark.parametrize('levels', [1, 2, 3])
@pytest.mark.parametrize('size', [(8, 16), (9, 14), (5, 7)])
def test_independent_value(levels: int, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 3, 2, *size)) * 3 + 1
    target = np.zeros((3, *size), dtype=int)
    target[0, :1, :3], target[1] = 255, 255
    value = HaarDetailLoss(levels)(*map(torch.from_numpy, (student, teacher, target)))
    expected = by_loops(student, teacher, target, levels)
    assert float(value) == pytest.approx(expected, rel=1e-6)


def test_the_transform_is_orthonormal() -> None:
    x = torch.randn(2, 3, 8, 12, dtype=torch.float64)
    bands = haar(x)
    assert sum(float(band.square().sum()) for band in bands) == pytest.approx(
        float(x.square().sum()), rel=1e-12
    )
    basis = torch.eye(16, dtype=torch.float64).reshape(16, 1, 4, 4)
    matrix = torch.cat([band.flatten(1) for band in haar(basis)], dim=1)
    assert torch.allclose(matrix @ matrix.T, torch.eye(16, dtype=torch.float64), atol=1e-12)


def test_void_pixels_change_nothing() -> None:
    noise, student, teacher = torch.randn(3, 2, 4, 8, 8)
    target, void = void_half()
    loss = HaarDetailLoss()
    value = loss(student, teacher, target)
    others = [torch.where(void, 100 * noise, x) for x in (student, teacher)]
    assert float(loss(*others, target)) == pytest.approx(float(value), rel=1e-5)
    assert float(loss(student, teacher, torch.full_like(target, 255))) == 0


def test_scale_and_offset_do_not_count() -> None:
    student, teacher = torch.randn(2, 2, 4, 8, 8)
    value = HaarDetailLoss()(student, teacher)
    other = HaarDetailLoss()(5 * student - 3, 0.1 * teacher + 2)
    assert float(other) == pytest.approx(float(value), rel=1e-4)
