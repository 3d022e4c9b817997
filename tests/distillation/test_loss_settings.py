"""Settings and maps that a loss cannot use are named in a line."""

import pytest
import torch
from mmseg.registry import MODELS

from mmseg_kd.distillation import (
    AttentionTransferLoss,
    BoundarySplitLoss,
    ChannelWiseDivergence,
    DecoupledKDLoss,
    DISTLoss,
    EdgeDirectionLoss,
    HaarDetailLoss,
    KDLoss,
    KLDivergenceLoss,
    SimilarityPreservingLoss,
    SobolevLoss,
)
from mmseg_kd.errors import UserError


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(type='KLDivergenceLoss', reduction='mean'), "reduction='mean' is not one of"),
        (dict(type='KLDivergenceLoss', temperature=0), 'not a number above 0'),
        (dict(type='KLDivergenceLoss', temperature='abc'), 'is neither a number nor a schedule'),
        (dict(type='KLDivergenceLoss', stages=['stage1', 'logits']), 'reads one tap'),
        (dict(type='KLDivergenceLoss', loss_weight='0.5'), 'is neither a number'),
        (dict(type='KLDivergenceLoss', loss_weight=float('nan')), 'is neither a number'),
        (dict(type='ChannelWiseDivergence', temperature=0), 'not a number above 0'),
        (dict(type='DISTLoss', temperature=-1), 'not a number above 0'),
        (dict(type='DISTLoss', stages=['stage1', 'logits']), 'reads one tap'),
        (dict(type='DISTLoss', gamma=-1), 'beta=1.0 and gamma=-1 must be at least 0'),
        (dict(type='DISTLoss', beta=-1), 'beta=-1 and gamma=1.0 must be at least 0'),
        (dict(type='DISTLoss', teacher=dict(a=1, b=-1)), 'nor a dict of weights'),
        (dict(type='JunctionLoss', temperature=0), 'not a number above 0'),
        (dict(type='JunctionLoss', trace_weight=-1), 'trace_weight=-1 is not a number from 0'),
        (dict(type='JunctionLoss', softmax=False, temperature=4), 'temperature=4 has no effect'),
        (
            dict(type='EdgeFlowLoss', student_channels=4, teacher_channels=16, temperature=4),
            'temperature=4 has no effect on features',
        ),
        (dict(type='HodgeFlowLoss', dims=3), 'dims=3 has no effect without student_channels'),
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
        (dict(type='DecoupledKDLoss', alpha=-1), 'alpha=-1 and beta=8.0 must be at least 0'),
        (dict(type='BoundarySplitLoss', kernel_size=4), 'kernel_size=4 is not an odd number'),
        (dict(type='BoundarySplitLoss', edge_weight=-1), 'edge_weight=-1 or'),
        (dict(type='BoundarySplitLoss', body_weight=-1), 'body_weight=-1 is negative'),
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
        (dict(type='AttentionTransferLoss', stages=[]), r' stages=\[\] is not a tap or a list'),
        (dict(type='AttentionTransferLoss', teacher_stages=[]), r' teacher_stages=\[\] is not a'),
        (dict(type='AttentionTransferLoss', p=0.5), 'must be at least 1'),
        (dict(type='AttentionTransferLoss', ignore_index=11), 'ignore_index=11 has no effect'),
        (dict(type='DISTLoss', ignore_index=[255, 11]), r'ignore_index=\[255, 11\] is not one'),
        (dict(type='PermutedSpectrumLoss', seed='a'), "seed='a' is not a whole number"),
        (dict(type='SimilarityPreservingLoss', mode='pixels'), "mode='pixels' is not"),
        (dict(type='SobolevLoss', exponent=3), 'exponent=3 is not a number from -2 to 2'),
        (dict(type='SobolevLoss', mode='fft'), "mode='fft' is not one of"),
        (dict(type='SobolevLoss', band_weights=(0, 0)), r'band_weights=\(0, 0\) is not a list of'),
        (dict(type='SobolevLoss', band_weights=2), 'band_weights=2 is not a list of'),
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
    with pytest.raises(UserError, match="use mode='pixel', a larger batch_size"):
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


@pytest.mark.parametrize('channels', [1, 2])
def test_two_classes_cannot_be_standardized(channels: int) -> None:
    x = torch.randn(2, channels, 4, 4)
    with pytest.raises(ValueError, match='standardize=True needs at least 3 classes'):
        KLDivergenceLoss(standardize=True)(x, x)


def test_maps_that_do_not_belong_together_are_named() -> None:
    x, labels = torch.randn(4, 3, 8, 8), torch.zeros(4, 8, 8, dtype=torch.long)
    loss = KLDivergenceLoss()
    for maps in ((x[:1], x), (x, x[:1]), (x, x, labels[:1])):
        with pytest.raises(ValueError, match=r'batches of \[.*1.*\]'):
            loss(*maps)
    with pytest.raises(ValueError, match='2 maps of the student and 2 of the teacher'):
        loss([x, x], [x, x])
    with pytest.raises(ValueError, match='2 maps of the student and 1 of the teacher'):
        AttentionTransferLoss()([x, x], [x])


def test_a_share_is_not_measured_in_a_loop_of_ones_own() -> None:
    x = torch.randn(4, 3, 8, 8)
    share = dict(type='GradientShare', share=0.4)
    for weight in (share, dict(type='LinearWarmup', value=share, end=9)):
        with pytest.raises(ValueError, match='GradientShare needs KDEncoderDecoder'):
            KLDivergenceLoss(loss_weight=weight)(x, x)
