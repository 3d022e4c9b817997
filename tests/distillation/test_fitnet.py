"""FitNetLoss: independent values, its adapters, void, and channels that the config got wrong."""

import numpy as np
import pytest
import torch
from distillation.void_half import void_half
from mmseg.registry import MODELS
from numpy.typing import NDArray

from mmseg_kd.distillation import FitNetLoss
from mmseg_kd.errors import UserError


def by_loops(
    loss: FitNetLoss, student: NDArray, teacher: NDArray, target: NDArray, reduction: str
) -> float:
    weight = loss.adapters[0].weight.detach().double().numpy()[:, :, 0, 0]
    bias = loss.adapters[0].bias.detach().double().numpy()
    values = []
    for n, y, x in np.ndindex(target.shape):
        if target[n, y, x] == 255:
            continue
        s, t = weight @ student[n, :, y, x] + bias, teacher[n, :, y, x]
        if reduction == 'mean':
            values.append(np.mean((s - t) ** 2))
        else:
            values.append(1 - s @ t / np.sqrt(s @ s) / np.sqrt(t @ t))
    return float(np.mean(values))


@pytest.mark.parametrize('reduction', FitNetLoss.reductions)
def test_independent_value(reduction: str) -> None:
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(3, 4, 5, 6)), rng.normal(size=(3, 7, 5, 6))
    target = rng.integers(0, 4, (3, 5, 6))
    loss = FitNetLoss(student_channels=4, teacher_channels=7, reduction=reduction)
    maps = torch.from_numpy(student), torch.from_numpy(teacher)
    expected = pytest.approx(by_loops(loss, student, teacher, target, reduction), rel=1e-9)
    assert float(loss(*maps)) == expected
    target[0, :3], target[1] = 255, 255
    keep = FitNetLoss(4, 7, reduction=reduction, ignore_index=None)
    assert float(keep(*maps, torch.from_numpy(target))) == expected
    assert float(loss(*maps, torch.from_numpy(target))) == pytest.approx(
        by_loops(loss, student, teacher, target, reduction), rel=1e-9
    )


@pytest.mark.parametrize('reduction', FitNetLoss.reductions)
def test_void_pixels_change_nothing(reduction: str) -> None:
    noise, student, teacher = torch.randn(3, 2, 4, 8, 8)
    target, void = void_half()
    loss = FitNetLoss(4, 4, reduction=reduction)
    value = loss(student, teacher, target)
    other = [torch.where(void, 100 * noise, x) for x in (student, teacher)]
    assert float(loss(*other, target)) == pytest.approx(float(value), rel=1e-6)
    assert float(loss(student, teacher, torch.full_like(target, 255))) == 0


def test_the_cosine_knows_no_scale() -> None:
    loss = FitNetLoss(4, 7, reduction='cosine')
    student, teacher = torch.randn(2, 4, 8, 8), torch.randn(2, 7, 8, 8)
    assert float(loss(student, 1000 * teacher)) == pytest.approx(
        float(loss(student, teacher)), rel=1e-5
    )


def test_building_leaves_the_random_stream_alone_and_is_repeatable() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    first = FitNetLoss(4, 7)
    assert torch.equal(torch.rand(4), expected)
    second, other = FitNetLoss(4, 7), FitNetLoss(4, 7, seed=1)
    assert torch.equal(first.adapters[0].weight, second.adapters[0].weight)
    assert not torch.equal(first.adapters[0].weight, other.adapters[0].weight)


def test_the_adapters_learn() -> None:
    student = torch.randn(2, 4, 8, 8)
    teacher = torch.einsum('oc,nchw->nohw', torch.randn(7, 4), student) + 2
    loss = FitNetLoss(4, 7)
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.1)
    before = float(loss(student, teacher))
    for _ in range(200):
        optimizer.zero_grad()
        loss(student, teacher).backward()
        optimizer.step()
    assert float(loss(student, teacher)) < before / 1000


def test_finite_with_adapters_grown_large() -> None:
    for reduction in FitNetLoss.reductions:
        loss = FitNetLoss(4, 7, reduction=reduction)
        torch.nn.init.constant_(loss.adapters[0].weight, 1e6)
        student = torch.full((2, 4, 8, 8), 1e30, requires_grad=True)
        value = loss(student, -torch.full((2, 7, 8, 8), 1e30))
        value.backward()
        gradients = [student.grad, *(p.grad for p in loss.parameters())]
        assert all(torch.isfinite(x).all() for x in (value, *gradients))


def test_half_weights_compute_in_float32() -> None:
    loss = FitNetLoss(4, 7).half()
    value = loss(torch.randn(2, 4, 8, 8).half(), torch.randn(2, 7, 8, 8).half())
    assert value.dtype == torch.float32


def test_stages_have_their_own_adapters() -> None:
    maps = [(torch.randn(2, c, n, n), torch.randn(2, 2 * c, n, n)) for c, n in ((4, 16), (8, 8))]
    loss = FitNetLoss([4, 8], [8, 16], stages=['stage1', 'stage2'])
    total = loss(*zip(*maps, strict=True))
    parts = []
    for i, (student, teacher) in enumerate(maps):
        one = FitNetLoss(student.shape[1], teacher.shape[1])
        one.adapters[0].load_state_dict(loss.adapters[i].state_dict())
        parts.append(float(one(student, teacher)))
    assert float(total) == pytest.approx(sum(parts))


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (
            dict(student_channels=8, teacher_channels=6),
            "FitNetLoss: stages[0] 'stage4' has 4 channels, not 8; write student_channels=4",
        ),
        (
            dict(student_channels=4, teacher_channels=8, teacher_stages='stage3'),
            "FitNetLoss: teacher_stages[0] 'stage3' has 6 channels, not 8; "
            'write teacher_channels=6',
        ),
        (
            dict(student_channels=4, teacher_channels=[6, 8], stages=['stage3', 'stage4']),
            "FitNetLoss: teacher_stages[1] 'stage4' has 6 channels, not 8; "
            'write teacher_channels=[6, 6]',
        ),
    ],
)
def test_wrong_channels_are_named_with_the_right_ones(settings: dict, message: str) -> None:
    loss = FitNetLoss(**settings)
    stages = len(loss.stages)
    with pytest.raises(UserError) as error:
        loss([torch.randn(2, 4, 8, 8)] * stages, [torch.randn(2, 6, 8, 8)] * stages)
    assert str(error.value) == message


def test_the_name_in_configs_of_earlier_versions() -> None:
    assert type(MODELS.build(dict(type='FitNet', student_channels=4, teacher_channels=7))) is (
        FitNetLoss
    )
