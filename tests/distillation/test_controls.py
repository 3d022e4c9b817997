"""Controls: maps that replace the teacher's, and where they cannot."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import KD_LOSSES, tiny_config, tiny_model
from mmengine.config import ConfigDict
from mmseg.registry import MODELS

from mmseg_kd.distillation import (
    AttentionFlowLoss,
    EdgeFlowLoss,
    FitNetLoss,
    KDLoss,
    KLDivergenceLoss,
)
from mmseg_kd.distillation.controls import SMOOTHING, label_logits
from mmseg_kd.distillation.schedules import LinearWarmup
from mmseg_kd.engine import build_runner
from mmseg_kd.errors import UserError

CLASSES = 5


def maps(size: tuple[int, int] = (6, 8)) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(2, 3, CLASSES, *size, generator=generator).double())


def labels(size: tuple[int, int]) -> torch.Tensor:
    target = torch.randint(0, CLASSES, (3, *size), generator=torch.Generator().manual_seed(1))
    target[0, : size[0] // 2] = 255
    return target


def test_another_image_is_the_one_before_in_the_batch() -> None:
    student, teacher = maps()
    other = torch.stack([teacher[2], teacher[0], teacher[1]])
    value = KLDivergenceLoss(control='other_image')(student, teacher)
    assert torch.equal(value, KLDivergenceLoss()(student, other))
    assert value != KLDivergenceLoss()(student, teacher)


def test_every_tap_is_of_the_same_other_image() -> None:
    settings = dict(student_channels=CLASSES, teacher_channels=CLASSES, stages=['stage1', 'stage4'])
    control, plain = FitNetLoss(control='other_image', **settings), FitNetLoss(**settings)
    student, teacher = [x.float() for x in maps()], [x.float() for x in maps((3, 4))]
    value = control(student, teacher)
    assert torch.equal(value, plain(student, [x.roll(1, 0) for x in teacher]))
    value.backward()
    assert control.adapters[0].weight.grad.any()


def test_one_image_has_no_other() -> None:
    x = torch.randn(1, CLASSES, 4, 4)
    with pytest.raises(
        UserError, match=r"'other_image' needs another image .*batch_size, or drop_last=True$"
    ):
        KLDivergenceLoss(control='other_image')(x, x)


def test_labels_in_the_teachers_place_by_hand() -> None:
    student, teacher = maps((4, 4))
    target = labels((16, 16))
    temperature, total, count = 2.0, 0.0, 0
    for n, y, x in np.ndindex(3, 4, 4):
        # The nearest label of a cell of 4x4 is the one right and below of its centre.
        label = int(target[n, 4 * y + 2, 4 * x + 2])
        if label == 255:
            continue
        p = [SMOOTHING / CLASSES + (1 - SMOOTHING) * (k == label) for k in range(CLASSES)]
        p = np.power(p, 1 / temperature) / np.power(p, 1 / temperature).sum()
        q = np.exp(student[n, :, y, x].numpy() / temperature)
        total += temperature**2 * (p * np.log(p / (q / q.sum()))).sum()
        count += 1
    assert 0 < count < 48
    loss = KLDivergenceLoss(temperature=temperature, control='labels')
    assert float(loss(student, teacher, target)) == pytest.approx(total / count, rel=1e-6)
    # Only the size of the teacher's map matters, not its values.
    assert torch.equal(loss(student, teacher + 1, target), loss(student, -teacher, target))


def test_smoothed_labels() -> None:
    target = torch.tensor([[[0, 4], [255, 7]]])
    p = label_logits(target, CLASSES, torch.zeros(1, 9, 2, 2)).exp()[0]
    rest = SMOOTHING / CLASSES
    assert p[:, 0, 0].tolist() == pytest.approx([1 - SMOOTHING + rest] + 4 * [rest])
    assert p[:, 0, 1].tolist() == pytest.approx(4 * [rest] + [1 - SMOOTHING + rest])
    # 255, or another label that is not a class, gives equal probabilities.
    for void in (p[:, 1, 0], p[:, 1, 1]):
        assert void.tolist() == pytest.approx(CLASSES * [1 / CLASSES])


def test_a_sigmoid_learns_from_labels_of_two_classes() -> None:
    student = torch.tensor([2.0, -2.0]).reshape(1, 1, 1, 2)
    loss = KLDivergenceLoss(control='labels')
    right, wrong = (loss(student, student, torch.tensor([[x]])) for x in ([1, 0], [0, 1]))
    assert right < wrong


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_labels_keep_what_every_loss_promises(dtype: torch.dtype) -> None:
    loss, (student, teacher) = KLDivergenceLoss(control='labels'), maps()
    target = labels((12, 16))
    student = student.to(dtype).requires_grad_()
    with torch.autocast('cpu', dtype=dtype):
        value = loss(student, teacher.to(dtype), target)
    value.backward()
    assert value.dtype == torch.float32
    assert torch.isfinite(value) and torch.isfinite(student.grad).all()
    void = loss(student, teacher, torch.full_like(target, 255))
    assert float(void.detach()) == 0
    double = maps()[0].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, teacher, target), double)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(type='KLDivergenceLoss', control='label'), "control='label' is not one of"),
        (
            dict(type='AttentionTransferLoss', control='labels'),
            r'only the logits, not .*stage1',
        ),
        (
            dict(type='PairwiseLoss', stages=['logits', 'stage4'], control='labels'),
            'reads only the logits',
        ),
    ],
)
def test_wrong_controls_are_named(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MODELS.build(settings)


@pytest.mark.parametrize(('channels', 'missing'), [(5, 'labels'), (1, 'a channel for each class')])
def test_labels_that_cannot_be_used(channels: int, missing: str) -> None:
    loss = MODELS.build(dict(type='PairwiseLoss', stages='logits', control='labels'))
    x = torch.randn(2, channels, 4, 4)
    target = torch.zeros(2, 4, 4).long() if channels == 1 else None
    with pytest.raises(UserError, match=f'give {missing}'):
        loss(x, x, target)


def test_a_control_is_printed_and_keeps_weight_and_schedules() -> None:
    loss = KLDivergenceLoss(
        control='other_image',
        loss_weight=dict(type='LinearWarmup', value=2.0, end=4),
        temperature=dict(type='LinearWarmup', value=4.0, end=4, start=0.25),
    )
    assert "control='other_image'" in loss.extra_repr()
    assert 'control' not in KLDivergenceLoss().extra_repr()
    loss.set_iteration(2)
    assert isinstance(loss.loss_weight, LinearWarmup)
    assert (loss.weight, loss.current_temperature()) == (1.0, 2.5)
    assert not loss.zero_at_equality
    flows = EdgeFlowLoss(control='other_image')
    assert not flows.zero_at_equality
    # What a loss needs of its taps is not a setting.
    assert 'of_classes' not in flows.extra_repr()


@pytest.mark.parametrize('loss', [AttentionFlowLoss(), KLDivergenceLoss()])
def test_without_a_control_a_loss_is_zero_at_equality(loss: KDLoss) -> None:
    assert loss.zero_at_equality and loss.control is None


def test_a_student_trains_with_controls(tmp_path: Path, teacher: dict) -> None:
    losses = {
        'kl_loss': dict(KD_LOSSES['kl_loss'], control='labels'),
        'at_loss': dict(KD_LOSSES['at_loss'], control='other_image'),
    }
    losses['kl_loss']['loss_weight'] = dict(type='GradientShare', share=0.3, interval=2)
    model = tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=losses)
    runner = build_runner(tiny_config(tmp_path, model=ConfigDict(model), train_cfg__max_iters=2))
    runner.train()
    assert runner.kd_losses.gradient_shares['kl_loss'].value > 0
