"""The pair-wise loss: independent values and void."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mmseg_kd.distillation import PairwiseLoss


def pooled(x: NDArray, patch: tuple[int, int], pool: str) -> NDArray:
    """Patches (C, cells) of a map (C, H, W), the last ones cut off at its edge."""
    height, width = x.shape[1:]
    cells = [
        getattr(x[:, y : y + patch[0], z : z + patch[1]], pool)(axis=(1, 2))
        for y in range(0, height, patch[0])
        for z in range(0, width, patch[1])
    ]
    return np.stack(cells, axis=1)


def by_loops(student: NDArray, teacher: NDArray, target: NDArray, patch: tuple[int, int]) -> float:
    """Mean over images of the mean squared difference of cosines between kept patches."""
    images = []
    for s, t, labels in zip(student, teacher, target, strict=True):
        kept = pooled((labels != 255)[None].astype(float), patch, 'mean')[0] >= 0.5
        s, t = pooled(s, patch, 'max')[:, kept], pooled(t, patch, 'max')[:, kept]
        squares = [
            (cosine(s[:, i], s[:, j]) - cosine(t[:, i], t[:, j])) ** 2
            for i, j in np.ndindex(kept.sum(), kept.sum())
        ]
        images.append(np.mean(squares) if squares else 0.0)
    return float(np.mean(images))


def cosine(a: NDArray, b: NDArray) -> float:
    return a @ b / np.sqrt(a @ a) / np.sqrt(b @ b)


@pytest.mark.parametrize(('scale', 'patch'), [(0.5, (3, 4)), (0.25, (1, 2)), (1, (7, 8))])
def test_independent_value(scale: float, patch: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(3, 4, 7, 8)), rng.normal(size=(3, 6, 7, 8))
    target = rng.integers(0, 4, (3, 7, 8))
    loss = PairwiseLoss(scale=scale)
    maps = torch.from_numpy(student), torch.from_numpy(teacher)
    expected = pytest.approx(by_loops(student, teacher, target, patch), rel=1e-9)
    assert float(loss(*maps)) == expected
    assert float(loss(*maps, torch.from_numpy(target))) == expected
    target[0, :4], target[1, :, :3], target[2] = 255, 255, 255
    assert float(loss(*maps, torch.from_numpy(target))) == pytest.approx(
        by_loops(student, teacher, target, patch), rel=1e-9
    )
    keep = PairwiseLoss(scale=scale, ignore_index=None)
    assert float(keep(*maps, torch.from_numpy(target))) == expected


def test_patches_that_are_mostly_void_change_nothing() -> None:
    torch.manual_seed(0)
    student, teacher, noise = torch.randn(3, 2, 4, 8, 8)
    target = torch.zeros(2, 64, 64, dtype=torch.long)
    target[:, :24, :32] = 255
    quarter = torch.zeros(8, 8, dtype=torch.bool)
    quarter[:4, :4] = True
    loss = PairwiseLoss()
    other = [torch.where(quarter, noise, x) for x in (student, teacher)]
    # The similarities are of one common scale, so float32 may round otherwise.
    assert float(loss(*other, target)) == pytest.approx(
        float(loss(student, teacher, target)), rel=1e-5
    )
    assert float(loss(*other)) != pytest.approx(float(loss(student, teacher)), rel=1e-2)
