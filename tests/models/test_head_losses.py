"""The losses without a wait are mmseg's."""

from __future__ import annotations

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.models import FCNHead
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_kd.models.upsampled_cross_entropy import head_losses, without_waiting


def batch() -> tuple[torch.Tensor, list[SegDataSample]]:
    torch.manual_seed(0)
    samples = []
    for _ in range(2):
        labels = torch.randint(0, 5, (1, 12, 17))
        labels[:, :2] = 255
        samples.append(SegDataSample(gt_sem_seg=PixelData(data=labels)))
    return torch.randn(2, 5, 4, 6, dtype=torch.float64, requires_grad=True), samples


def head_with(
    losses: dict | list, align_corners: bool = False, **settings: object
) -> torch.nn.Module:
    return MODELS.build(
        dict(
            type='FCNHead',
            in_channels=8,
            channels=8,
            num_convs=0,
            concat_input=False,
            num_classes=5,
            align_corners=align_corners,
            loss_decode=losses,
        )
        | settings
    )


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize(
    'losses',
    [
        dict(avg_non_ignore=True),
        dict(avg_non_ignore=False, loss_weight=0.4),
        dict(class_weight=[0.5, 1.0, 2.0, 0.0, 3.0]),
        [dict(loss_name='loss_a'), dict(loss_name='loss_b', avg_non_ignore=True)],
        [dict(), dict(loss_weight=2.0)],
    ],
    ids=str,
)
def test_values_and_gradients(losses: dict | list, align_corners: bool) -> None:
    kinds = losses if isinstance(losses, list) else [losses]
    kinds = [dict(type='CrossEntropyLoss', use_sigmoid=False) | kind for kind in kinds]
    head = head_with(kinds if isinstance(losses, list) else kinds[0], align_corners)
    logits, samples = batch()
    ours, theirs = head_losses(head, logits, samples), head.loss_by_feat(logits, samples)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(
            ours[name], value.squeeze(), rtol=1e-6, atol=0, check_dtype=False
        )
        if 'loss' in name:
            gradients = [torch.autograd.grad(x, logits)[0] for x in (ours[name], value)]
            torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-9)


class OwnHead(FCNHead):
    """A user's head with a loss of its own."""

    def loss_by_feat(self, *args: object) -> dict:
        return super().loss_by_feat(*args)


CE = dict(type='CrossEntropyLoss')


@pytest.mark.parametrize(
    ('losses', 'settings', 'ours'),
    [
        (CE, {}, True),
        (dict(type='DiceLoss'), {}, False),
        (dict(type='DiceLoss', use_sigmoid=False), {}, False),
        ([CE, dict(type='DiceLoss')], {}, False),
        (CE | dict(use_sigmoid=True), {}, False),
        (CE | dict(reduction='sum'), {}, False),
        (CE, dict(sampler=dict(type='OHEMPixelSampler', min_kept=9)), False),
        (CE, dict(type=OwnHead), False),
    ],
)
def test_other_losses_are_left_to_mmseg(losses: dict | list, settings: dict, ours: bool) -> None:
    head = head_with(losses, **settings)
    without_waiting(head)
    assert ('loss_by_feat' in vars(head)) is ours
