"""The contract of every distillation loss."""

import copy
import itertools

import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS

from mmseg_kd.distillation import (
    AffinityContrastLoss,
    AttentionFlowLoss,
    AttentionTransferLoss,
    BoundarySplitLoss,
    ChannelGroupDivergenceLoss,
    ChannelWiseDivergence,
    DecoupledKDLoss,
    DISTLoss,
    EdgeDirectionLoss,
    EdgeFlowLoss,
    FitNetLoss,
    HaarDetailLoss,
    HodgeFlowLoss,
    JunctionLoss,
    KDLoss,
    KLDivergenceLoss,
    MaskedGenerativeLoss,
    PairwiseLoss,
    PermutedSpectrumLoss,
    RandomSplitFlowLoss,
    SimilarityPreservingLoss,
    SobolevLoss,
)
from mmseg_kd.distillation.losses.grid.sobolev import MODES

CHANNELS = 5


def fitnet_of_the_identity(reduction: str) -> FitNetLoss:
    """A FitNetLoss that, like every loss, is zero where student equals teacher."""
    loss = FitNetLoss(student_channels=CHANNELS, teacher_channels=CHANNELS, reduction=reduction)
    torch.nn.init.dirac_(loss.adapters[0].weight)
    torch.nn.init.zeros_(loss.adapters[0].bias)
    return loss


EVERY_LOSS = [
    KLDivergenceLoss(),
    KLDivergenceLoss(temperature=1.0, reduction='batchmean'),
    KLDivergenceLoss(standardize=True),
    *(AttentionTransferLoss(reduction=r) for r in AttentionTransferLoss.reductions),
    AttentionTransferLoss(p=4),
    SimilarityPreservingLoss(),
    SimilarityPreservingLoss(mode='pixel'),
    SimilarityPreservingLoss(reduction='sum'),
    ChannelWiseDivergence(),
    PairwiseLoss(),
    PairwiseLoss(scale=0.25),
    DISTLoss(),
    DISTLoss(temperature=4.0, beta=2.0, gamma=0.5),
    *(fitnet_of_the_identity(r) for r in FitNetLoss.reductions),
    EdgeDirectionLoss(),
    JunctionLoss(),
    JunctionLoss(softmax=False, trace_weight=0.5),
    *(SobolevLoss(mode=m, band_weights=(1.0, 0.5)) for m in MODES),
    SobolevLoss(exponent=-1.0, centre=False),
    PermutedSpectrumLoss(),
    EdgeFlowLoss(),
    EdgeFlowLoss(student_channels=CHANNELS, teacher_channels=CHANNELS, dims=3),
    HodgeFlowLoss(components=dict(gradient=0.5, curl=2.0), band_weights=(1.0, 2.0)),
    HodgeFlowLoss(flows=2, components=['curl']),
    HodgeFlowLoss(flows=1, components=['curl', 'harmonic']),
    RandomSplitFlowLoss(components=['curl']),
    AttentionFlowLoss(),
    AttentionFlowLoss(exact_weight=0.0),
    AttentionFlowLoss(permute_heads=True),
    KLDivergenceLoss(control='other_image'),
    DISTLoss(control='other_image'),
    DecoupledKDLoss(),
    DecoupledKDLoss(alpha=0.0, beta=1.0, temperature=1.0),
    BoundarySplitLoss(kernel_size=3),
    BoundarySplitLoss(body_weight=0.0),
    ChannelGroupDivergenceLoss(group_size=2),
    *(MaskedGenerativeLoss(CHANNELS, CHANNELS, reduction=r) for r in ('mean', 'sum_per_image')),
    MaskedGenerativeLoss(CHANNELS, CHANNELS, mask_ratio=0.5, grid=None),
    AffinityContrastLoss(CHANNELS, CHANNELS, groups=5, contrast_weight=1.0),
    AffinityContrastLoss(CHANNELS, CHANNELS, groups=1, patch=2, reduction='sum_per_image'),
    HaarDetailLoss(),
]
names = [f'{type(x).__name__}-{x.extra_repr()}' for x in EVERY_LOSS]
every_loss = pytest.mark.parametrize('loss', EVERY_LOSS, ids=names)


def fitting(loss: KDLoss, *maps: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The maps; for a loss of attention matrices, the same square part of each."""
    if not isinstance(loss, AttentionFlowLoss):
        return maps
    side = min(min(x.shape[2:]) for x in maps)
    return tuple(x[..., :side, :side] for x in maps)


def seeded(loss: KDLoss, *taps: torch.Tensor | None) -> torch.Tensor:
    """The value of a loss, of a random one with the same draw every time."""
    torch.manual_seed(0)
    return loss(*taps)


def labels(loss: KDLoss, *shape: int) -> torch.Tensor | None:
    """Labels for a loss that needs them."""
    return torch.randint(0, CHANNELS, shape) if loss.needs_labels else None


def test_every_registered_loss_is_tested() -> None:
    registered = {
        x
        for x in MODELS.module_dict.values()
        if isinstance(x, type) and issubclass(x, KDLoss) and x.__module__.startswith('mmseg_kd.')
    }
    assert registered == {type(loss) for loss in EVERY_LOSS}


@every_loss
def test_zero_where_student_equals_teacher(loss: KDLoss) -> None:
    (x,), target = fitting(loss, torch.randn(3, CHANNELS, 8, 9)), labels(loss, 3, 8, 9)
    assert (float(loss(x, x.clone(), target)) == 0) is loss.zero_at_equality


@every_loss
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_float32_under_any_autocast(loss: KDLoss, dtype: torch.dtype) -> None:
    student, teacher = torch.randn(2, 2, CHANNELS, 32, 32) * 30
    target = labels(loss, 2, 32, 32)
    reference = seeded(loss, student, teacher, target)
    with torch.autocast('cpu', dtype=dtype):
        value = seeded(loss, student, teacher, target)
        half = seeded(loss, student.to(dtype), teacher.to(dtype), target)
    assert value.dtype == torch.float32
    assert torch.equal(value, reference)
    assert half.dtype == torch.float32
    assert torch.isfinite(half)


EXTREMES = {
    'constant': torch.full((2, CHANNELS, 8, 8), 7.0),
    'zero': torch.zeros(2, CHANNELS, 8, 8),
    '1e4': torch.randn(2, CHANNELS, 8, 8).sign() * 1e4,
    'largest': torch.randn(2, CHANNELS, 8, 8).sign() * torch.finfo(torch.float32).max,
    'smallest': torch.full((2, CHANNELS, 8, 8), 1e-38),
    'one image dark': torch.stack([torch.randn(CHANNELS, 8, 8), torch.zeros(CHANNELS, 8, 8)]),
}


@every_loss
@pytest.mark.parametrize('student', EXTREMES)
def test_finite_at_extremes(loss: KDLoss, student: str) -> None:
    void, zero = torch.full((2, 8, 8), 255), torch.zeros(2, 8, 8, dtype=torch.long)
    targets = [labels(loss, 2, 8, 8), void, zero]
    # Not a case for each teacher, which takes longer.
    for teacher, target in itertools.product(EXTREMES, targets):
        x = EXTREMES[student].clone().requires_grad_()
        value = loss(x, EXTREMES[teacher], target)
        value.backward()
        assert torch.isfinite(value), teacher
        assert torch.isfinite(x.grad).all(), teacher


@every_loss
def test_gradcheck(loss: KDLoss) -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 2, CHANNELS, 4, 6, generator=generator, dtype=torch.float64)
    student, teacher = fitting(loss, student, teacher)
    target = torch.randint(0, 3, (2, 4, 6), generator=generator)
    target[0, 0] = 255
    double = copy.deepcopy(loss).double()
    # The fast mode checks one direction, not each input.
    assert torch.autograd.gradcheck(
        lambda x: seeded(double, x, teacher, target),
        student.clone().requires_grad_(),
        fast_mode=True,
    )


@every_loss
def test_no_gradient_reaches_the_teacher(loss: KDLoss) -> None:
    student, teacher = (torch.randn(2, CHANNELS, 8, 8, requires_grad=True) for _ in range(2))
    loss(student, teacher, labels(loss, 2, 8, 8)).backward()
    assert student.grad.any()
    assert teacher.grad is None


@every_loss
def test_other_sizes_and_weight(loss: KDLoss) -> None:
    student, teacher = torch.randn(2, CHANNELS, 16, 12), torch.randn(2, CHANNELS, 9, 7)
    student, teacher = fitting(loss, student, teacher)
    target = torch.randint(0, 6, (2, 64, 48))
    value = seeded(loss, student, teacher, target)
    assert value.ndim == 0
    assert value > 0
    if not loss.whole_maps:
        resized = F.interpolate(teacher, (16, 12), mode='bilinear', align_corners=False)
        assert torch.equal(value, seeded(loss, student, resized, target))
    heavy = copy.deepcopy(loss)
    heavy.loss_weight = 2.5
    assert float(seeded(heavy, student, teacher, target)) == pytest.approx(2.5 * float(value))


@pytest.mark.parametrize(
    'loss',
    [
        KLDivergenceLoss(),
        DISTLoss(),
        DISTLoss(temperature=4.0),
        DecoupledKDLoss(),
        BoundarySplitLoss(body_weight=0.0),
    ],
)
def test_one_channel_is_two_classes(loss: KDLoss) -> None:
    student, teacher = torch.randn(2, 2, 1, 6, 7)
    student.requires_grad_()
    # The softmax of two logits depends on their difference alone.
    first = torch.randn(2, 1, 6, 7)
    pair = torch.cat([first, first + teacher], dim=1)
    target = torch.randint(0, 2, (2, 6, 7))
    one, two = loss(student, teacher, target), loss(student, pair, target)
    assert float(one) == pytest.approx(float(two), rel=1e-4)
    one.backward()
    assert float(one) > 0 and float(student.grad.abs().sum()) > 0
