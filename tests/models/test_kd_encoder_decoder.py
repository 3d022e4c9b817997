import copy
from pathlib import Path

import pytest
import torch
from conftest import KD_LOSSES, tiny_model
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_kd.distillation.base import log_names
from mmseg_kd.errors import UserError

KEYS = ('at_loss', 'at_raw', 'kl_loss', 'kl_raw', 'sp_loss', 'sp_raw')


def build(cfg: dict, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    model = MODELS.build(cfg)
    model._dump_init_info = lambda: None
    model.init_weights()
    return model.train()


@pytest.fixture
def teacher(tmp_path: Path) -> dict:
    """A teacher with other weights and its model dict as config."""
    config = tiny_model()
    model = build(config, seed=1)
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'teacher.pth')
    return dict(config=config, checkpoint=str(tmp_path / 'teacher.pth'))


def batch(seed: int = 0, size: int = 64) -> tuple[torch.Tensor, list[SegDataSample]]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(2, 3, size, size, generator=generator)
    labels = torch.randint(0, 12, (2, 1, size, size), generator=generator)
    labels[:, :, :8] = 255
    samples = [
        SegDataSample(gt_sem_seg=PixelData(data=x), metainfo=dict(img_shape=(size, size)))
        for x in labels
    ]
    return images, samples


def train(model: torch.nn.Module, steps: int = 3) -> list[float]:
    """A few steps of AdamW; the total loss of each."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    totals = []
    for step in range(steps):
        losses = model.loss(*batch(step))
        total = sum(value for name, value in losses.items() if 'loss' in name)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(float(total.detach()))
    return totals


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


def test_the_teacher_is_outside_the_model(teacher: dict) -> None:
    plain = build(tiny_model())
    model = build(tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=KD_LOSSES))
    model.loss(*batch())
    names = [name for name, _ in model.named_parameters()]
    assert names == [name for name, _ in plain.named_parameters()]
    assert list(model.state_dict()) == list(plain.state_dict())
    plain.load_state_dict(model.state_dict(), strict=True)
    assert copy.deepcopy(model).teacher is model.teacher


def test_the_teacher_stays_in_eval_and_is_deterministic(teacher: dict) -> None:
    model = build(tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=KD_LOSSES))
    images, _ = batch()
    first = model.build_teacher()(images, ['logits', 'stage4'])
    before = copy.deepcopy(model.build_teacher().segmentor.state_dict())
    model.train()
    train(model)
    assert not any(m.training for m in model.build_teacher().segmentor.modules())
    assert not any(p.requires_grad for p in model.build_teacher().segmentor.parameters())
    second = model.build_teacher()(images, ['logits', 'stage4'])
    assert all(torch.equal(first[name], second[name]) for name in first)
    after = model.build_teacher().segmentor.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_student_equal_to_its_teacher_has_no_distillation_loss(teacher: dict) -> None:
    model = build(tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=KD_LOSSES))
    model.load_state_dict(model.build_teacher().segmentor.state_dict())
    model.eval()
    values = model.loss(*batch())
    # The student's logits differ in rounding: with gradients they are computed unblocked.
    assert all(abs(float(values[f'{name}_raw'])) < 1e-6 for name in ('kl', 'at', 'sp'))


def test_a_cnn_of_another_stride_and_width_can_teach(tmp_path: Path) -> None:
    config = dict(
        type='EncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor', mean=[0] * 3, std=[255] * 3),
        backbone=dict(type='ResNetV1c', depth=18, num_stages=4, out_indices=(0, 1, 2, 3)),
        decode_head=dict(
            type='FCNHead',
            in_channels=512,
            in_index=3,
            channels=32,
            num_convs=1,
            concat_input=False,
            num_classes=12,
            norm_cfg=dict(type='SyncBN'),
            loss_decode=dict(type='CrossEntropyLoss'),
        ),
        test_cfg=dict(mode='whole'),
    )
    torch.save({'state_dict': build(config).state_dict()}, tmp_path / 'cnn.pth')
    teacher = dict(config=config, checkpoint=str(tmp_path / 'cnn.pth'))
    model = build(tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=KD_LOSSES))
    values = model.loss(*batch())
    assert all(torch.isfinite(values[name]) and values[name] > 0 for name in KEYS)


def test_images_are_brought_to_the_teachers_normalisation(teacher: dict) -> None:
    bgr = copy.deepcopy(teacher)
    bgr['config']['data_preprocessor'].update(mean=[0.0] * 3, std=[255.0] * 3, bgr_to_rgb=False)
    model = build(tiny_model(type='KDEncoderDecoder', teacher=bgr, kd_losses=KD_LOSSES))
    raw = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)
    samples = batch()[1][:1]
    student_input = model.data_preprocessor(dict(inputs=[raw], data_samples=samples), False)
    teacher_input = model.build_teacher().segmentor.data_preprocessor(
        dict(inputs=[raw], data_samples=samples), False
    )
    got = model.build_teacher()(student_input['inputs'], ['logits'], model.data_preprocessor)[
        'logits'
    ]
    expected = model.build_teacher()(teacher_input['inputs'], ['logits'])['logits']
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=0)
    different = model.build_teacher()(student_input['inputs'], ['logits'])['logits']
    assert (different - expected).abs().max() > 1e-3


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
    with pytest.raises(UserError, match=r'kd_losses\.keys: a loss cannot have .* write keys_loss'):
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


def test_a_missing_teacher_says_how_to_make_it(tmp_path: Path) -> None:
    config = tmp_path / 'teacher.py'
    config.write_text(f'model = {tiny_model()!r}')
    lost = dict(config=str(config), checkpoint=str(tmp_path / 'iter_40000.pth'))
    model = build(tiny_model(type='KDEncoderDecoder', teacher=lost, kd_losses=KD_LOSSES))
    with pytest.raises(UserError, match=r'train the teacher, `python tools/train.py .*teacher.py`'):
        model.loss(*batch())


def test_other_classes_are_refused(teacher: dict, tmp_path: Path) -> None:
    config = copy.deepcopy(teacher['config'])
    config['decode_head']['num_classes'] = 11
    torch.save({'state_dict': build(config).state_dict()}, tmp_path / 'eleven.pth')
    eleven = dict(config=config, checkpoint=str(tmp_path / 'eleven.pth'))
    model = build(tiny_model(type='KDEncoderDecoder', teacher=eleven, kd_losses=KD_LOSSES))
    with pytest.raises(UserError, match=r'has 11 classes, the student 12'):
        model.loss(*batch())
    with pytest.raises(UserError, match=r'has 11 classes, the model 12|does not fit'):
        wrong = dict(config=teacher['config'], checkpoint=eleven['checkpoint'])
        build(tiny_model(type='KDEncoderDecoder', teacher=wrong, kd_losses=KD_LOSSES)).loss(
            *batch()
        )


def test_the_teachers_precision_is_its_own(teacher: dict) -> None:
    images, _ = batch()
    taps = {}
    for dtype in (None, 'float32', 'bfloat16'):
        model = build(
            tiny_model(
                type='KDEncoderDecoder', teacher=teacher | dict(dtype=dtype), kd_losses=KD_LOSSES
            )
        )
        taps[dtype, False] = model.build_teacher()(images, ['logits', 'stage4.pre_norm'])
        with torch.autocast('cpu', torch.bfloat16):
            taps[dtype, True] = model.build_teacher()(images, ['logits', 'stage4.pre_norm'])
    truth = taps[None, False]
    for name in truth:
        assert torch.equal(taps['float32', False][name], truth[name])
        assert torch.equal(taps['float32', True][name], truth[name])
        assert torch.equal(taps['bfloat16', True][name], taps[None, True][name])
        rounded = taps['bfloat16', False][name].float()
        assert 1e-5 < (rounded - truth[name]).norm() / truth[name].norm() < 0.05
    with pytest.raises(UserError, match=r'model\.teacher\.dtype'):
        build(
            tiny_model(
                type='KDEncoderDecoder', teacher=teacher | dict(dtype='half'), kd_losses=KD_LOSSES
            )
        ).build_teacher()


def test_the_teachers_head_runs_only_where_a_loss_reads_it(
    teacher: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = build(tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=KD_LOSSES))
    head = built.build_teacher().segmentor.decode_head
    runs = []
    forward = head.forward
    monkeypatch.setattr(head, 'forward', lambda x: runs.append(1) or forward(x))
    images, _ = batch()
    stages = built.build_teacher()(images, ['stage4', 'stage1.pre_norm', 'backbone.block2.0'])
    assert runs == []
    everything = built.build_teacher()(images, ['logits', *stages])
    assert runs == [1]
    assert all(torch.equal(stages[name], everything[name]) for name in stages)


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
