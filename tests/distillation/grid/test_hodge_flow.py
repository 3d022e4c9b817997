"""The losses of flows: independent values, their parts, and the controls."""

from itertools import combinations

import numpy as np
import pytest
import torch
from distillation.void_half import void_half
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_kd.distillation import EdgeFlowLoss, HodgeFlowLoss, RandomSplitFlowLoss

GENERATOR = torch.Generator().manual_seed(0)
STUDENT, TEACHER = (
    torch.randn(2, 4, 6, 7, dtype=torch.float64, generator=GENERATOR) for _ in range(2)
)
TARGET = torch.zeros(2, 6, 7, dtype=torch.long)
TARGET[0, 2:4, 2:5] = TARGET[1, 0, 0] = 255


def by_hand(student: Tensor, teacher: Tensor, target: Tensor | None = None) -> float:
    """The formula of `EdgeFlowLoss`, edge by edge."""
    values = []
    for n in range(len(student)):
        u = [np.exp(x[n].numpy()) / np.exp(x[n].numpy()).sum(axis=0) for x in (student, teacher)]
        difference = scale = edges = 0.0
        height, width = u[0].shape[1:]
        for i in range(height):
            for j in range(width):
                for other in ((i, j + 1), (i + 1, j)):
                    if other[0] == height or other[1] == width:
                        continue
                    if target is not None and 255 in (target[n, i, j], target[n][other]):
                        continue
                    edges += 1
                    for a, b in combinations(range(4), 2):
                        w = [x[a, i, j] * x[b][other] - x[b, i, j] * x[a][other] for x in u]
                        difference += (w[0] - w[1]) ** 2
                        scale += w[1] ** 2
        values.append(difference / (scale + 1e-3 * edges))
    return float(np.mean(values))


@pytest.mark.parametrize('target', [None, TARGET])
def test_the_value_is_that_of_the_formula(target: Tensor | None) -> None:
    assert float(EdgeFlowLoss()(STUDENT, TEACHER, target)) == pytest.approx(
        by_hand(STUDENT, TEACHER, target), rel=1e-10
    )
    assert float(EdgeFlowLoss(temperature=2.0)(STUDENT, TEACHER, target)) == pytest.approx(
        by_hand(STUDENT / 2, TEACHER / 2, target), rel=1e-10
    )


@pytest.mark.parametrize('target', [None, TARGET])
@pytest.mark.parametrize('flows', [None, 2])
def test_the_parts_sum_to_the_flow(flows: int | None, target: Tensor | None) -> None:
    """At equal weights the decomposition changes nothing: the reason for the control."""
    taps = STUDENT, TEACHER, target
    whole = float(EdgeFlowLoss(flows=flows)(*taps))
    both = HodgeFlowLoss(flows=flows)
    halves = [
        float(HodgeFlowLoss(flows=flows, components=[name])(*taps)) for name in ('gradient', 'curl')
    ]
    thirds = HodgeFlowLoss(flows=flows, components=['gradient', 'curl', 'harmonic'])
    assert float(both(*taps)) == pytest.approx(whole, rel=1e-10)
    assert sum(halves) == pytest.approx(whole, rel=1e-10)
    assert min(halves) > 0.02 * whole
    assert float(thirds(*taps)) == pytest.approx(whole, rel=1e-10)
    random = [
        float(RandomSplitFlowLoss(flows=flows, components=[name])(*taps))
        for name in ('gradient', 'curl')
    ]
    assert sum(random) == pytest.approx(whole, rel=1e-10)
    assert abs(random[1] - halves[1]) > 0.02 * whole


def test_bands_sum_to_the_flow() -> None:
    bands = [HodgeFlowLoss(band_weights=w)(STUDENT, TEACHER) for w in ((1, 0), (0, 1))]
    assert min(bands) > 0
    torch.testing.assert_close(sum(bands), EdgeFlowLoss()(STUDENT, TEACHER))


def test_weights_of_the_parts() -> None:
    gradient, curl = (HodgeFlowLoss(components=[x])(STUDENT, TEACHER) for x in ('gradient', 'curl'))
    weighted = HodgeFlowLoss(components=dict(gradient=1.0, curl=4.0))(STUDENT, TEACHER)
    torch.testing.assert_close(weighted, gradient + 4 * curl)


def test_a_single_band_weighs_the_harmonic_part_too() -> None:
    once, twice = (HodgeFlowLoss(components=['harmonic'], band_weights=[w]) for w in (1, 2))
    torch.testing.assert_close(
        twice(STUDENT, TEACHER, TARGET), 2 * once(STUDENT, TEACHER, TARGET), rtol=0, atol=0
    )


def test_two_classes_have_no_curl() -> None:
    loss = HodgeFlowLoss(components=['curl'])
    assert float(loss(STUDENT[:, :2], TEACHER[:, :2])) < 1e-25
    assert float(EdgeFlowLoss()(STUDENT[:, :2], TEACHER[:, :2])) > 0.1


def test_only_a_hole_in_the_labels_has_a_harmonic_part() -> None:
    loss = HodgeFlowLoss(components=['harmonic'])
    assert float(loss(STUDENT, TEACHER, torch.zeros_like(TARGET))) < 1e-20
    assert float(loss(STUDENT, TEACHER, TARGET)) > 1e-4


def test_a_mirrored_image_has_the_same_loss() -> None:
    taps = STUDENT, TEACHER, TARGET
    for loss in (EdgeFlowLoss(), HodgeFlowLoss(components=['curl'])):
        torch.testing.assert_close(loss(*taps), loss(*(x.flip(-1) for x in taps)))


def test_a_constant_added_to_the_logits_changes_nothing() -> None:
    loss = HodgeFlowLoss(components=dict(gradient=1, curl=2))
    shifted = STUDENT + torch.randn(2, 1, 6, 7, dtype=torch.float64)
    torch.testing.assert_close(loss(shifted, TEACHER), loss(STUDENT, TEACHER))


@pytest.mark.parametrize('components', [['gradient'], ['curl'], ['curl', 'harmonic']])
def test_derivatives(components: list[str]) -> None:
    loss = HodgeFlowLoss(components=components)
    # One image of three classes: the harmonic part is slow.
    student = STUDENT[:1, :3].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, TEACHER[:1, :3], TARGET[:1]), student)


def test_features_need_no_equal_channels() -> None:
    loss = HodgeFlowLoss(student_channels=4, teacher_channels=6, dims=3, stages='stage3')
    teacher = torch.randn(2, 6, 3, 4)
    value = loss(STUDENT.float(), teacher, TARGET)
    value.backward()
    assert value > 0
    assert loss.adapter.weight.grad.abs().max() > 0
    assert list(loss.state_dict()) == ['adapter.weight', 'adapter.bias']
    # The scale of the features does not matter.
    scaled = loss(STUDENT.float(), 100 * teacher, TARGET)
    torch.testing.assert_close(scaled, value, rtol=1e-4, atol=0)


def test_void_pixels_of_features_change_nothing() -> None:
    noise, student, teacher = torch.randn(3, 2, 4, 8, 8)
    target, void = void_half()
    loss = HodgeFlowLoss(student_channels=4, teacher_channels=4, dims=3, stages='stage3')
    other = [torch.where(void, 100 * noise, x) for x in (student, teacher)]
    assert float(loss(*other, target)) == pytest.approx(float(loss(student, teacher, target)))


@pytest.mark.parametrize(
    ('settings', 'said'),
    [
        (dict(components=['rotation']), "components=['rotation']"),
        (dict(components=dict(curl=-1.0)), 'negative'),
        (dict(components=[]), 'components=[]'),
        (dict(components='curl'), "components='curl': write a list"),
        (dict(band_weights=[]), 'band_weights=[]: missing or negative'),
        (dict(components=['harmonic'], ignore_index=None), 'a full grid has no harmonic part'),
        (dict(components=['harmonic'], band_weights=(1, 2)), 'no bands'),
        (dict(type='RandomSplitFlowLoss', components=['harmonic']), 'only the full grid'),
        (dict(student_channels=4), 'both'),
        (dict(student_channels=4, teacher_channels=6), 'dims=12 is not from 2 to the 6 channels'),
        (dict(student_channels=4, teacher_channels=6, dims=1), 'dims=1 is not'),
    ],
)
def test_wrong_settings_are_named(settings: dict, said: str) -> None:
    with pytest.raises(ValueError) as error:
        MODELS.build(dict(type='HodgeFlowLoss') | settings)
    assert said in str(error.value)


def test_more_flows_than_channels_allow_are_named() -> None:
    with pytest.raises(ValueError, match='flows=3 is not from 1 to half of the 4'):
        EdgeFlowLoss(flows=3)(STUDENT, TEACHER)
