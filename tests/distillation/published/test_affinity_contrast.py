"""AffinityContrastLoss: independent values, void, and the grid of whole patches."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mmseg_kd.distillation import AffinityContrastLoss, MaskedGenerativeLoss


def seeded(loss: MaskedGenerativeLoss, *taps: torch.Tensor) -> torch.Tensor:
    """The loss, with the same masks every time."""
    torch.manual_seed(0)
    return loss(*taps)


def by_loops(
    student: NDArray, teacher: NDArray, valid: NDArray, groups: int, patch: int, tau: float
) -> list[float]:
    """The cross-entropy of each group of each valid place."""
    n, channels, height, width = student.shape
    student, teacher = (
        x.reshape(n, groups, channels // groups, height, width) for x in (student, teacher)
    )
    terms = []
    for i, y, x in zip(*np.nonzero(valid), strict=True):
        top, left = y // patch * patch, x // patch * patch
        for m in range(groups):
            u = student[i, m, :, y, x]
            own = np.exp(-np.abs(u - teacher[i, m, :, y, x]).sum() / tau)
            total = own
            for b, c in np.ndindex(patch, patch):
                for k in range(groups):
                    if k != m and valid[i, top + b, left + c]:
                        v = teacher[i, k, :, top + b, left + c]
                        total += np.exp(-np.abs(u - v).sum() / tau)
            terms.append(-np.log(own / total))
    return terms


@pytest.mark.parametrize(('groups', 'patch', 'tau'), [(2, 4, 1.0), (4, 2, 0.5), (1, 2, 1.0)])
@pytest.mark.parametrize('masked', [False, True])
def test_the_contrast_has_the_independent_value(
    groups: int, patch: int, tau: float, masked: bool
) -> None:
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 2, 4, 8, 4))
    valid = np.ones((2, 8, 4), dtype=bool)
    if masked:
        valid[0, :3], valid[1, 5, 2] = False, False
    loss = AffinityContrastLoss(3, 4, groups, patch, tau)
    value = loss.contrast(*map(torch.from_numpy, (student, teacher, valid)))
    terms = by_loops(student, teacher, valid, groups, patch, tau)
    assert float(value) == pytest.approx(np.mean(terms), rel=1e-9)
    loss = AffinityContrastLoss(3, 4, groups, patch, tau, reduction='sum_per_image')
    value = loss.contrast(*map(torch.from_numpy, (student, teacher, valid)))
    assert float(value) == pytest.approx(np.sum(terms) / valid.size, rel=1e-9)


@pytest.mark.parametrize('reduction', AffinityContrastLoss.reductions)
def test_it_is_the_masked_generation_plus_the_contrast_of_its_map(reduction: str) -> None:
    student, teacher = torch.randn(2, 3, 8, 8), torch.randn(2, 4, 8, 8)
    target = torch.zeros(2, 32, 32, dtype=torch.long)
    target[:, :8] = 255
    settings = dict(groups=2, tau=1.0, reduction=reduction)
    loss = AffinityContrastLoss(3, 4, contrast_weight=0.3, **settings)
    mimicry = MaskedGenerativeLoss(3, 4, reduction=reduction)
    (weight, bias) = (p[:, :, 0, 0] if p.ndim == 4 else p for p in loss.adapters[0].parameters())
    adapted = torch.einsum('oc,nchw->nohw', weight, student) + bias[:, None, None]
    valid = target[:, ::4, ::4] != 255
    torch.manual_seed(0)
    contrast = loss.contrast(loss.generate(adapted), teacher, valid)
    expected = seeded(mimicry, student, teacher, target) + 0.3 * contrast
    assert float(contrast) > 0
    assert float(seeded(loss, student, teacher, target)) == pytest.approx(float(expected), rel=1e-5)


def test_one_group_has_nothing_to_contrast_with() -> None:
    student, teacher = torch.randn(2, 3, 8, 8), torch.randn(2, 4, 8, 8)
    alone = seeded(AffinityContrastLoss(3, 4, groups=1, contrast_weight=1.0), student, teacher)
    assert float(alone) == float(seeded(MaskedGenerativeLoss(3, 4), student, teacher))


def test_void_places_are_neither_pulled_nor_pushed_away() -> None:
    student, teacher = torch.randn(2, 3, 8, 8), torch.randn(2, 4, 8, 8)
    target = torch.zeros(2, 32, 32, dtype=torch.long)
    target[:, :, :8] = 255
    other = teacher.clone()
    other[..., :2] += 1
    for reduction in AffinityContrastLoss.reductions:
        loss = AffinityContrastLoss(3, 4, groups=2, tau=1.0, reduction=reduction)
        values = [seeded(loss, student, x, target) for x in (other, teacher)]
        assert float(values[0]) == float(values[1])
        assert float(loss(student, teacher, torch.full_like(target, 255))) == 0


@pytest.mark.parametrize(
    ('size', 'cells'),
    [((16, 16), [16, 16]), ((128, 18), [16, 16]), ((15, 11), [12, 8]), ((3, 2), [4, 4])],
)
def test_the_grid_holds_whole_patches(size: tuple[int, int], cells: list[int]) -> None:
    loss = AffinityContrastLoss(3, 4, groups=2)
    assert loss.cells(size) == cells
    assert torch.isfinite(loss(torch.randn(2, 3, *size), torch.randn(2, 4, 7, 7)))


def test_a_student_that_matches_its_place_has_the_least_contrast() -> None:
    teacher = torch.randn(1, 4, 8, 8)
    valid = torch.ones(1, 8, 8, dtype=torch.bool)
    loss = AffinityContrastLoss(3, 4, groups=4, tau=0.1)
    same = float(loss.contrast(teacher, teacher, valid))
    assert same < float(loss.contrast(teacher.roll(1, dims=1), teacher, valid))
    assert same < float(loss.contrast(teacher.roll(1, dims=3), teacher, valid))
