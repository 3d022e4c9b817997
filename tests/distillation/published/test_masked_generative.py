"""MaskedGenerativeLoss: independent values, its masks by iteration, the grid and void."""

import copy

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mmseg_kd.distillation import MaskedGenerativeLoss
from mmseg_kd.distillation.distillation_losses import DistillationLosses
from mmseg_kd.distillation.losses.features.masked_generative import random_places
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


def mask_of(loss: MaskedGenerativeLoss, n: int, height: int, width: int) -> NDArray:
    places = random_places((n, 1, height, width), loss.seed, loss.iteration, 'cpu')
    return (places >= loss.mask_ratio).numpy()


@pytest.mark.parametrize('iteration', [0, 1000])
@pytest.mark.parametrize('reduction', MaskedGenerativeLoss.reductions)
def test_independent_value(reduction: str, iteration: int) -> None:
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 3, 6, 5)), rng.normal(size=(2, 4, 6, 5))
    target = rng.integers(0, 4, (2, 6, 5))
    target[0, :2] = 255
    loss = MaskedGenerativeLoss(3, 4, mask_ratio=0.5, reduction=reduction)
    loss.set_iteration(iteration)
    kept = mask_of(loss, 2, 6, 5)
    assert 0 < kept.sum() < kept.size
    squared = np.square(generated(loss, student, kept) - teacher).sum(axis=1)[target != 255]
    expected = squared.sum() / 2 if reduction == 'sum_per_image' else squared.mean() / 4
    value = loss(*map(torch.from_numpy, (student, teacher, target)))
    assert float(value) == pytest.approx(expected, rel=1e-9)


def test_masks_keep_their_share_and_differ_between_iterations_and_places() -> None:
    masks = torch.stack([random_places((64, 64), 3, i, 'cpu') >= 0.75 for i in range(50)]).double()
    # 204,800 places: the standard error of the share is 0.001.
    assert float(masks.mean()) == pytest.approx(0.25, abs=0.005)
    centred = masks - 0.25
    for a, b in (
        (centred[1:], centred[:-1]),
        (centred[:, 1:], centred[:, :-1]),
        (centred[:, :, 1:], centred[:, :, :-1]),
    ):
        assert abs(float((a * b).mean())) < 0.003
    # Neither the seed nor the iteration alone: seed 1 at iteration 0 is not seed 0 at iteration 1.
    numbers = [random_places((64,), s, i, 'cpu') for s, i in ((0, 0), (0, 1), (1, 0), (1, 1))]
    assert len({tuple(x.tolist()) for x in numbers}) == 4


def test_the_random_stream_of_torch_is_left_alone() -> None:
    student, teacher = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    before = torch.get_rng_state()
    loss = MaskedGenerativeLoss(4, 4)
    loss(student, teacher)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_resumed_run_draws_the_masks_of_an_uninterrupted_one() -> None:
    student, teacher = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    losses = DistillationLosses({'mgd': MaskedGenerativeLoss(4, 4)}, ['teacher'])
    values = []
    for iteration in range(4):
        losses.set_iteration(iteration)
        values.append(float(losses['mgd'](student, teacher)))
    assert len(set(values)) == 4
    resumed = DistillationLosses({'mgd': MaskedGenerativeLoss(4, 4)}, ['teacher'])
    resumed.load_state_dict(losses.state_dict())
    resumed.set_iteration(2)
    assert float(resumed['mgd'](student, teacher)) == values[2]


def test_the_iteration_of_a_recorded_step_is_a_tensor() -> None:
    student, teacher = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    loss = MaskedGenerativeLoss(4, 4)
    recorded = copy.deepcopy(loss)
    recorded.put_numbers_on(torch.device('cpu'))
    iteration = recorded.number('iteration')
    for i in (0, 5, 2**25 + 1):
        for each in (loss, recorded):
            each.set_iteration(i)
        # A graph reads the same memory at every replay.
        assert recorded.number('iteration') is iteration and int(iteration) == i
        assert float(recorded(student, teacher)) == float(loss(student, teacher))


def test_setting_the_iteration_before_the_backward_pass() -> None:
    # A `GradientShare` sets it again between a step's losses and its gradients.
    loss = MaskedGenerativeLoss(4, 4)
    loss.put_numbers_on(torch.device('cpu'))
    value = loss(torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8))
    loss.set_iteration(1)
    value.backward()
    assert loss.adapters[0].weight.grad.any()


@pytest.mark.parametrize('size', [(32, 32), (20, 24), (16, 12)])
def test_maps_are_averaged_to_the_grid(size: tuple[int, int]) -> None:
    student, teacher = torch.randn(2, 4, *size), torch.randn(2, 6, *size)
    target = torch.zeros(2, 64, 64, dtype=torch.long)
    target[:, :32] = 255
    cells = [min(side, 16) for side in size]
    pooled = [torch.nn.functional.adaptive_avg_pool2d(x, cells) for x in (student, teacher)]
    value = MaskedGenerativeLoss(4, 6)(student, teacher, target)
    whole = MaskedGenerativeLoss(4, 6, grid=None)(*pooled, target)
    assert float(value) == pytest.approx(float(whole), rel=1e-5)


def test_void_places_have_no_part_in_the_distance() -> None:
    student, teacher = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    target = torch.zeros(2, 32, 32, dtype=torch.long)
    target[:, :, :16] = 255
    for reduction in MaskedGenerativeLoss.reductions:
        loss = MaskedGenerativeLoss(4, 4, reduction=reduction)
        other = teacher.clone()
        other[..., :4] += 10
        assert float(loss(student, other, target)) == float(loss(student, teacher, target))
        assert float(loss(student, teacher, torch.full_like(target, 255))) == 0


def test_it_learns_to_complete_the_map() -> None:
    # Smooth maps: a masked place can be guessed from its neighbours.
    torch.manual_seed(0)
    student = torch.nn.functional.interpolate(torch.randn(2, 4, 4, 4), (16, 16), mode='bilinear')
    teacher = torch.einsum('oc,nchw->nohw', torch.randn(6, 4), student)
    loss = MaskedGenerativeLoss(4, 6, mask_ratio=0.5)
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.01)
    values = []
    for iteration in range(200):
        loss.set_iteration(iteration)
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
