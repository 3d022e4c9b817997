"""The distillation losses: independent values, and what every loss promises."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
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
from mmseg_kd.distillation.maps import resize_map
from mmseg_kd.errors import UserError

GOLDEN = np.load(Path(__file__).parents[1] / 'data' / 'kd_losses.npz')
STAGES = [f'stage{i}' for i in (1, 2, 3, 4)]
CHANNELS = 5


def fitnet_of_the_identity(reduction: str) -> FitNetLoss:
    """A FitNetLoss that, like every loss, is zero where student equals teacher."""
    loss = FitNetLoss(student_channels=CHANNELS, teacher_channels=CHANNELS, reduction=reduction)
    torch.nn.init.dirac_(loss.adapters[0].weight)
    torch.nn.init.zeros_(loss.adapters[0].bias)
    return loss


class MaskedGeneration(KDLoss):
    """A loss with random masks and parameters, which is not 0 at equality, as MGD is."""

    reductions = ('mean',)
    equal_channels = True
    zero_at_equality = False

    def __init__(self, channels: int) -> None:
        super().__init__('mean', 'stage4')
        with torch.random.fork_rng(devices=[]):
            self.generation = torch.nn.Conv2d(channels, channels, 3, padding=1)

    def distance(
        self, student: list[torch.Tensor], teacher: list[torch.Tensor], target: torch.Tensor | None
    ) -> torch.Tensor:
        (x,), (y,) = student, teacher
        masked = x * (torch.rand_like(x[:, :1]) > 0.5)
        return (self.generation(masked) - resize_map(y, x.shape[2:])).square().mean()


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
    JunctionLoss(temperature=4.0),
    SobolevLoss(),
    SobolevLoss(exponent=-1.0, centre=False),
    PermutedSpectrumLoss(),
    MaskedGeneration(CHANNELS),
    EdgeFlowLoss(),
    EdgeFlowLoss(flows=2, temperature=2.0),
    HodgeFlowLoss(components=dict(gradient=0.5, curl=2.0)),
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


def golden(name: str) -> torch.Tensor:
    return torch.from_numpy(GOLDEN[name])


def expected(name: str) -> float:
    return float(GOLDEN[f'expected/{name}'])


@pytest.mark.parametrize('temperature', [1, 2, 4])
def test_kl_matches_the_independent_value(temperature: int) -> None:
    loss = KLDivergenceLoss(temperature=temperature)
    logits = golden('student_logits'), golden('teacher_logits')
    masked = loss(*logits, golden('target'))
    assert float(masked) == pytest.approx(
        expected(f'kl_pixel_mean_T{temperature}_masked'), rel=1e-5
    )
    unmasked = expected(f'kl_pixel_mean_T{temperature}_unmasked')
    assert float(loss(*logits)) == pytest.approx(unmasked, rel=1e-5)
    keep = KLDivergenceLoss(temperature=temperature, ignore_index=None)
    assert float(keep(*logits, golden('target'))) == pytest.approx(unmasked, rel=1e-5)


def test_kl_batchmean_is_the_pixel_mean_times_the_pixels() -> None:
    logits = golden('student_logits'), golden('teacher_logits')
    ratio = KLDivergenceLoss(reduction='batchmean')(*logits) / KLDivergenceLoss()(*logits)
    assert float(ratio) == pytest.approx(24 * 32, rel=1e-5)


@pytest.mark.parametrize('stage', STAGES)
@pytest.mark.parametrize('reduction', ['paper', 'authors_code', 'sum'])
def test_at_matches_the_independent_value(reduction: str, stage: str) -> None:
    loss = AttentionTransferLoss(reduction=reduction)
    value = loss([golden(f'student_{stage}')], [golden(f'teacher_{stage}')])
    assert float(value) == pytest.approx(expected(f'at_{reduction}_{stage}'), rel=1e-5)


@pytest.mark.parametrize('stage', STAGES)
def test_sp_matches_the_independent_value(stage: str) -> None:
    value = SimilarityPreservingLoss()([golden(f'student_{stage}')], [golden(f'teacher_{stage}')])
    assert float(value) == pytest.approx(expected(f'sp_paper_{stage}'), rel=1e-5)


@pytest.mark.parametrize(
    ('loss', 'key'),
    [(AttentionTransferLoss(), 'at_paper'), (SimilarityPreservingLoss(), 'sp_paper')],
)
def test_a_list_of_maps_is_summed(loss: KDLoss, key: str) -> None:
    value = loss([golden(f'student_{s}') for s in STAGES], [golden(f'teacher_{s}') for s in STAGES])
    assert float(value) == pytest.approx(sum(expected(f'{key}_{s}') for s in STAGES), rel=1e-5)


def test_pixel_similarity_by_hand() -> None:
    # Two cells: the student sees them alike (cosine 1), the teacher as opposites (-1).
    student = torch.tensor([1.0, 1.0]).reshape(1, 1, 1, 2)
    teacher = torch.tensor([1.0, -1.0]).reshape(1, 1, 1, 2)
    loss = SimilarityPreservingLoss(mode='pixel')
    assert float(loss(student, teacher)) == pytest.approx(2 * 2**2 / 2**2)


def test_every_registered_loss_is_tested() -> None:
    registered = {
        x
        for x in MODELS.module_dict.values()
        if isinstance(x, type) and issubclass(x, KDLoss) and x.__module__.startswith('mmseg_kd.')
    }
    assert registered == {type(loss) for loss in EVERY_LOSS} - {MaskedGeneration}


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
@pytest.mark.parametrize('teacher', EXTREMES)
def test_finite_at_extremes(loss: KDLoss, student: str, teacher: str) -> None:
    void, zero = torch.full((2, 8, 8), 255), torch.zeros(2, 8, 8, dtype=torch.long)
    for target in (labels(loss, 2, 8, 8), void, zero):
        x = EXTREMES[student].clone().requires_grad_()
        value = loss(x, EXTREMES[teacher], target)
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(x.grad).all()


def test_all_void_images_give_zero_kl() -> None:
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    value = KLDivergenceLoss()(x, torch.randn(2, 3, 8, 8), torch.full((2, 8, 8), 255))
    value.backward()
    assert float(value) == 0
    assert float(x.grad.abs().sum()) == 0


@every_loss
def test_gradcheck(loss: KDLoss) -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 2, CHANNELS, 4, 6, generator=generator, dtype=torch.float64)
    student, teacher = fitting(loss, student, teacher)
    target = torch.randint(0, 3, (2, 4, 6), generator=generator)
    target[0, 0] = 255
    double = copy.deepcopy(loss).double()
    assert torch.autograd.gradcheck(
        lambda x: seeded(double, x, teacher, target), student.clone().requires_grad_()
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
    heavy = copy.deepcopy(loss)
    heavy.loss_weight = 2.5
    assert float(seeded(heavy, student, teacher, target)) == pytest.approx(2.5 * float(value))


def test_kl_masks_at_the_resolution_of_the_logits() -> None:
    # The left half is void, and only there do student and teacher differ.
    student, teacher = torch.zeros(1, 3, 4, 8), torch.zeros(1, 3, 4, 8)
    student[..., :4] = torch.randn(1, 3, 4, 4)
    target = torch.zeros(1, 16, 32, dtype=torch.long)
    target[..., :16] = 255
    assert float(KLDivergenceLoss()(student, teacher, target)) == 0
    assert float(KLDivergenceLoss()(student, teacher)) > 0


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(type='KLDivergenceLoss', reduction='mean'), "reduction='mean' is not one of"),
        (dict(type='KLDivergenceLoss', temperature=0), 'not a number above 0'),
        (dict(type='KLDivergenceLoss', temperature='abc'), 'is neither a number nor a schedule'),
        (dict(type='KLDivergenceLoss', stages=['stage1', 'logits']), 'compares one tap'),
        (dict(type='KLDivergenceLoss', loss_weight='0.5'), 'is neither a number'),
        (dict(type='KLDivergenceLoss', loss_weight=float('nan')), 'is neither a number'),
        (dict(type='ChannelWiseDivergence', temperature=0), 'not a number above 0'),
        (dict(type='DISTLoss', temperature=-1), 'not a number above 0'),
        (dict(type='DISTLoss', stages=['stage1', 'logits']), 'compares one tap'),
        (dict(type='JunctionLoss', temperature=0), 'not a number above 0'),
        (dict(type='PairwiseLoss', scale=0), 'scale=0 is not above 0'),
        (
            dict(type='FitNetLoss', student_channels=[8, 16], teacher_channels=8),
            r"student_channels=\[8, 16\] is not a number above 0 for each of \('stage4',\)",
        ),
        (
            dict(type='FitNetLoss', student_channels=8, teacher_channels=0),
            'teacher_channels=0 is no',
        ),
        (dict(type='DecoupledKDLoss', beta=-1), 'beta=-1 must be at least 0'),
        (dict(type='BoundarySplitLoss', kernel_size=4), 'kernel_size=4 is not an odd number'),
        (dict(type='BoundarySplitLoss', edge_weight=-1), 'edge_weight=-1 and'),
        (dict(type='ChannelGroupDivergenceLoss', group_size=0), 'group_size=0 must be at least 1'),
        (dict(type='HaarDetailLoss', levels=0), 'levels=0 must be at least 1'),
        (
            dict(type='MaskedGenerativeLoss', student_channels=8, teacher_channels=8, mask_ratio=1),
            'mask_ratio=1 is not from 0 to below 1',
        ),
        (
            dict(type='AffinityContrastLoss', student_channels=8, teacher_channels=8),
            'groups=16 does not divide teacher_channels=8',
        ),
        (
            dict(type='AffinityContrastLoss', student_channels=8, teacher_channels=16, tau=0),
            'tau=0: not above 0',
        ),
        (dict(type='AttentionTransferLoss', stages=[]), 'names no tap'),
        (dict(type='AttentionTransferLoss', p=0.5), 'must be at least 1'),
        (dict(type='PermutedSpectrumLoss', seed='a'), "seed='a' is not a whole number"),
        (dict(type='SimilarityPreservingLoss', mode='pixels'), "mode='pixels' is not"),
        (dict(type='SobolevLoss', exponent=3), 'exponent=3 is not a number from -2 to 2'),
        (
            dict(type='AttentionTransferLoss', stages=['stage1'], teacher_stages=['a', 'b']),
            'stages has 1 names, teacher_stages 2',
        ),
    ],
)
def test_wrong_settings_are_named(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MODELS.build(settings)


def test_one_image_has_no_similarities() -> None:
    x = torch.randn(1, 3, 8, 8)
    with pytest.raises(UserError, match="use mode='pixel' or a larger batch_size"):
        SimilarityPreservingLoss()(x, x)


def test_tokens_are_no_map() -> None:
    with pytest.raises(ValueError, match=r'not a map \(N, C, H, W\)'):
        AttentionTransferLoss()(torch.randn(2, 64, 8), torch.randn(2, 64, 8))


@pytest.mark.parametrize('loss', [DecoupledKDLoss, BoundarySplitLoss])
def test_missing_labels_are_named(loss: type[KDLoss]) -> None:
    x = torch.randn(2, 4, 8, 8)
    with pytest.raises(ValueError, match=f'{loss.__name__}: needs labels'):
        loss()(x, x)


@pytest.mark.parametrize(
    'loss',
    [
        KLDivergenceLoss,
        ChannelWiseDivergence,
        DISTLoss,
        HaarDetailLoss,
        EdgeDirectionLoss,
        SobolevLoss,
    ],
)
def test_different_channels_are_named(loss: type[KDLoss]) -> None:
    with pytest.raises(ValueError, match=f'{loss.__name__}: .* has 4 channels, the teacher 5'):
        loss()(torch.randn(2, 4, 8, 8), torch.randn(2, 5, 8, 8))


def test_kl_of_one_channel_by_hand() -> None:
    # p = 3/4 at the teacher, 1/2 at the student: 3/4 log 3/2 + 1/4 log 1/2.
    student, teacher = torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), np.log(3.0))
    expected = 0.75 * np.log(1.5) + 0.25 * np.log(0.5)
    loss = KLDivergenceLoss(temperature=1.0)
    assert float(loss(student, teacher)) == pytest.approx(expected, rel=1e-5)


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


@pytest.mark.parametrize('channels', [1, 2])
def test_two_classes_cannot_be_standardized(channels: int) -> None:
    x = torch.randn(2, channels, 4, 4)
    with pytest.raises(ValueError, match='standardize=True needs at least 3 classes'):
        KLDivergenceLoss(standardize=True)(x, x)
