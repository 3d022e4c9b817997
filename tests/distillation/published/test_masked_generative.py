"""MaskedGenerativeLoss: independent values, its masks, the grid and void."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mmseg_kd.distillation import MaskedGenerativeLoss
from mmseg_kd.errors import UserError


def convolved(x: NDArray, layer: torch.nn.Conv2d) -> NDArray:
    """A convolution of a map (C, H, W) with padding of zeros, place by place."""
    weight, bias = (p.detach().double().numpy() for p in (layer.weight, layer.bias))
    reach = weight.shape[-1] // 2
    padded = np.pad(x, [(0, 0), (reach, reach), (reach, reach)])
    out = np.empty((len(weight), *x.shape[1:]))
    for i, j in np.ndindex(x.shape[1:]):
        window = padded[:, i : i + 2 * reach + 1, j : j + 2 * reach + 1]
        out[:, i, j] = np.tensordot(weight, window, axes=3) + bias
    return out


def generated(loss: MaskedGenerativeLoss, student: NDArray, kept: NDArray) -> NDArray:
    """G(M r(F)) of each image, with the mask (N, 1, H, W)."""
    first, second = loss.generator
    maps = []
    for x, mask in zip(student, kept, strict=True):
        hidden = convolved(convolved(x, loss.adapters[0]) * mask, first)
        maps.append(convolved(np.maximum(hidden, 0), second))
    return np.stack(maps)


def seeded(loss: MaskedGenerativeLoss, *taps: torch.Tensor) -> float:
    """The value of the loss, with the same masks every time."""
    torch.manual_seed(0)
    return float(loss(*taps))


@pytest.mark.parametrize('reduction', MaskedGenerativeLoss.reductions)
def test_independent_value(reduction: str) -> None:
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 3, 6, 5)), rng.normal(size=(2, 4, 6, 5))
    target = rng.integers(0, 4, (2, 6, 5))
    target[0, :2] = 255
    loss = MaskedGenerativeLoss(3, 4, mask_ratio=0.5, reduction=reduction)
    torch.manual_seed(0)
    kept = (torch.rand(2, 1, 6, 5) >= 0.5).numpy()
    assert 0 < kept.sum() < kept.size
    squared = np.square(generated(loss, student, kept) - teacher).sum(axis=1)[target != 255]
    expected = squared.sum() / 2 if reduction == 'sum_per_image' else squared.mean() / 4
    value = seeded(loss, *map(torch.from_numpy, (student, teacher, target)))
    assert value == pytest.approx(expected, rel=1e-9)


def test_each_step_draws_a_mask() -> None:
    student, teacher = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    loss = MaskedGenerativeLoss(4, 4, mask_ratio=0.5)
    assert float(loss(student, teacher)) != float(loss(student, teacher))
    whole = MaskedGenerativeLoss(4, 4, mask_ratio=0.0)
    assert float(whole(student, teacher)) == float(whole(student, teacher))


@pytest.mark.parametrize('size', [(32, 32), (20, 24), (16, 12)])
def test_maps_are_averaged_to_the_grid(size: tuple[int, int]) -> None:
    student, teacher = torch.randn(2, 4, *size), torch.randn(2, 6, *size)
    target = torch.zeros(2, 64, 64, dtype=torch.long)
    target[:, :32] = 255
    cells = [min(side, 16) for side in size]
    pooled = [torch.nn.functional.adaptive_avg_pool2d(x, cells) for x in (student, teacher)]
    value = seeded(MaskedGenerativeLoss(4, 6), student, teacher, target)
    whole = seeded(MaskedGenerativeLoss(4, 6, grid=None), *pooled, target)
    assert value == pytest.approx(whole, rel=1e-5)


def test_void_places_have_no_part_in_the_distance() -> None:
    student, teacher = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    target = torch.zeros(2, 32, 32, dtype=torch.long)
    target[:, :, :16] = 255
    for reduction in MaskedGenerativeLoss.reductions:
        loss = MaskedGenerativeLoss(4, 4, reduction=reduction)
        other = teacher.clone()
        other[..., :4] += 10
        assert seeded(loss, student, other, target) == seeded(loss, student, teacher, target)
        assert float(loss(student, teacher, torch.full_like(target, 255))) == 0


def test_it_learns_to_complete_the_map() -> None:
    # Smooth maps: a masked place can be guessed from its neighbours.
    torch.manual_seed(0)
    student = torch.nn.functional.interpolate(torch.randn(2, 4, 4, 4), (16, 16), mode='bilinear')
    teacher = torch.einsum('oc,nchw->nohw', torch.randn(6, 4), student)
    loss = MaskedGenerativeLoss(4, 6, mask_ratio=0.5)
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.01)
    values = []
    for _ in range(200):
        optimizer.zero_grad()
        value = loss(student, teacher)
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert np.mean(values[-10:]) < values[0] / 4


def test_building_is_repeatable() -> None:
    first, second, other = (MaskedGenerativeLoss(4, 6, seed=s) for s in (0, 0, 1))
    for a, b, c in zip(*(x.parameters() for x in (first, second, other)), strict=True):
        assert torch.equal(a, b) and not torch.equal(a, c)


def test_wrong_channels_are_named() -> None:
    with pytest.raises(UserError, match=r"MaskedGenerativeLoss: .* 'stage4' has 4 channels, not 8"):
        MaskedGenerativeLoss(8, 6)(torch.randn(2, 4, 8, 8), torch.randn(2, 6, 8, 8))
