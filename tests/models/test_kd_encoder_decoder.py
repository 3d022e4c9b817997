import copy
from pathlib import Path

import pytest
import torch
from conftest import KD_LOSSES, tiny_model
from kd_students import KEYS, batch, build, saved_teacher, train

from mmseg_kd.distillation.base import log_names
from mmseg_kd.errors import UserError


@pytest.fixture
def teacher(tmp_path: Path) -> dict:
    return saved_teacher(tmp_path)


def test_without_losses_it_is_the_plain_model_bit_for_bit() -> None:
    plain = build(tiny_model())
    kd = build(tiny_model(type='KDEncoderDecoder', kd_losses=dict()))
    torch.manual_seed(5)
    expected = train(plain)
    torch.manual_seed(5)
    assert train(kd) == expected
    assert plain.state_dict().keys() == kd.state_dict().keys()
    for name, value in plain.state_dict().items():
        assert torch.equal(value, kd.state_dict()[name]), name


def test_with_a_teacher_the_student_starts_the_same_and_keeps_its_random_stream(
    teacher: dict,
) -> None:
    plain = build(tiny_model())
    silent = {name: loss | dict(loss_weight=0.0) for name, loss in KD_LOSSES.items()}
    kd = build(tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=silent))
    torch.manual_seed(5)
    expected = train(plain)
    torch.manual_seed(5)
    assert train(kd) == expected


def test_losses_are_logged_raw_and_weighted_and_reach_the_student_alone(teacher: dict) -> None:
    losses = copy.deepcopy(KD_LOSSES)
    losses['kl_loss']['loss_weight'] = 0.5
    model = build(tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=losses))
    values = model.loss(*batch())
    assert set(values) == {'decode.loss_ce', 'decode.acc_seg', *KEYS}
    assert float(values['kl_loss']) == pytest.approx(0.5 * float(values['kl_raw']))
    assert not any(values[name].requires_grad for name in values if name.endswith('raw'))
    for name in KD_LOSSES:
        model.zero_grad()
        values[name].backward(retain_graph=True)
        gradient = model.backbone.patch_embed1.proj.weight.grad
        assert gradient.abs().sum() > 0, name
    assert all(p.grad is None for p in model.build_teacher().segmentor.parameters())


def test_a_student_equal_to_its_teacher_has_no_distillation_loss(teacher: dict) -> None:
    model = build(tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=KD_LOSSES))
    model.load_state_dict(model.build_teacher().segmentor.state_dict())
    model.eval()
    values = model.loss(*batch())
    # The student's logits differ in rounding: with gradients they are computed unblocked.
    assert all(abs(float(values[f'{name}_raw'])) < 1e-6 for name in ('kl', 'at', 'sp'))


def test_log_names() -> None:
    assert log_names('kl_loss') == ('kl_loss', 'kl_raw')
    assert log_names('cwd') == ('cwd_loss', 'cwd_raw')
    assert log_names('loss') == ('loss', 'kd_raw')


def test_a_loss_can_be_left_out(teacher: dict) -> None:
    losses = KD_LOSSES | dict(at_loss=None)
    model = build(tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=losses))
    assert set(model.kd_losses) == {'kl_loss', 'sp_loss'}


@pytest.mark.parametrize('names', [('kl', 'kl_loss'), ('loss',)])
def test_names_that_would_be_logged_as_one_another(teacher: dict, names: tuple) -> None:
    losses = dict.fromkeys(names, KD_LOSSES['kl_loss'])
    with pytest.raises(UserError, match='would be logged as'):
        build(tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=losses))


def test_mistakes_are_named(teacher: dict) -> None:
    taken = dict(keys=KD_LOSSES['kl_loss'])
    with pytest.raises(UserError, match=r'kd_losses\.keys is a reserved name; write keys_loss'):
        build(tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=taken))
    with pytest.raises(UserError, match=r'needs model\.teacher'):
        build(tiny_model(type='KDEncoderDecoder', kd_losses=KD_LOSSES))
    wrong = dict(at_loss=dict(type='AttentionTransferLoss', stages='bakbone.block1'))
    with pytest.raises(UserError, match=r"no tap 'bakbone.block1': did you mean 'backbone.block1"):
        build(tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=wrong))
    with pytest.raises(UserError, match='is not a distillation loss'):
        losses = dict(ce=dict(type='CrossEntropyLoss'))
        build(tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=losses))
    deep = dict(at_loss=dict(type='AttentionTransferLoss', stages='stage7'))
    with pytest.raises(UserError, match="no tap 'stage7': its backbone has 4 stages"):
        build(tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=deep))
    frozen = build(tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=KD_LOSSES))
    frozen.backbone.requires_grad_(False)
    with pytest.raises(UserError, match='no gradient passes through the tap'):
        frozen.loss(*batch())


@pytest.mark.parametrize(
    'kind', ['KLDivergenceLoss', 'DISTLoss', 'DecoupledKDLoss', 'BoundarySplitLoss']
)
def test_two_classes_in_one_channel_are_distilled(kind: str, tmp_path: Path) -> None:
    binary = dict(num_classes=2, out_channels=1, threshold=0.5)
    binary['loss_decode'] = dict(type='CrossEntropyLoss', use_sigmoid=True)
    head = tiny_model()['decode_head'] | binary
    tutor = tiny_model(decode_head=head)
    torch.save({'state_dict': build(tutor).state_dict()}, tmp_path / 'binary.pth')
    teacher = dict(config=tutor, checkpoint=str(tmp_path / 'binary.pth'))
    losses = dict(kd_loss=dict(type=kind))
    torch.manual_seed(3)
    model = build(
        tiny_model(
            type='KDEncoderDecoder', **dict(decode_head=head, teacher=teacher, kd_losses=losses)
        )
    )
    for parameter in model.decode_head.parameters():
        torch.nn.init.normal_(parameter)
    images, samples = batch()
    for sample in samples:
        sample.gt_sem_seg.data.clamp_(max=1)
    loss = model.loss(images, samples)['kd_loss']
    loss.backward()
    assert float(loss.detach()) > 0
    assert model.backbone.patch_embed1.proj.weight.grad.abs().sum() > 0


@pytest.mark.parametrize('losses', [None, {}, dict(kl_loss=None)])
def test_a_teacher_without_losses_is_refused_in_training(losses: dict, teacher: dict) -> None:
    model = build(tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=losses))
    with pytest.raises(UserError, match=r'model\.kd_losses has no loss.*model\.teacher=None'):
        model.build_teacher()
    # Testing needs neither.
    assert model.eval()(batch()[0], mode='tensor').shape[1] == 12
