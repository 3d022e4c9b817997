"""Teachers of a student: frozen, outside of its weights, with their own images and precision."""

import copy
from pathlib import Path

import pytest
import torch
from conftest import KD_LOSSES, tiny_model
from kd_students import KEYS, batch, build, saved_teacher, train
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmseg_kd.errors import UserError
from mmseg_kd.models.launches import let_launches_be_free


@pytest.fixture
def teacher(tmp_path: Path) -> dict:
    return saved_teacher(tmp_path)


def test_the_teacher_is_outside_the_model(teacher: dict) -> None:
    plain = build(tiny_model())
    model = build(tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=KD_LOSSES))
    model.loss(*batch())
    names = [name for name, _ in model.named_parameters()]
    assert names == [name for name, _ in plain.named_parameters()]
    assert list(model.state_dict()) == list(plain.state_dict())
    plain.load_state_dict(model.state_dict(), strict=True)
    assert copy.deepcopy(model).build_teacher() is model.build_teacher()


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
    # Padded to 64x64, with 0 after the normalisation in both models.
    raw = torch.randint(0, 256, (3, 40, 64), dtype=torch.uint8)
    label = PixelData(data=torch.zeros(1, 40, 64, dtype=torch.long))
    samples = [SegDataSample(gt_sem_seg=label, metainfo=dict(img_shape=(40, 64)))]
    teachers = model.build_teacher().segmentor
    student_input, teacher_input = (
        each.data_preprocessor(dict(inputs=[raw], data_samples=copy.deepcopy(samples)), True)
        for each in (model, teachers)
    )
    assert not teacher_input['inputs'][:, :, 40:].any()
    got = model.build_teacher()(student_input['inputs'], ['logits'], model.data_preprocessor)[
        'logits'
    ]
    expected = model.build_teacher()(teacher_input['inputs'], ['logits'])['logits']
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=0)
    different = model.build_teacher()(student_input['inputs'], ['logits'])['logits']
    assert (different - expected).abs().max() > 1e-3


def test_a_missing_teacher_says_how_to_make_it(tmp_path: Path) -> None:
    config = tmp_path / 'teacher.py'
    config.write_text(f'model = {tiny_model()!r}')
    lost = dict(config=str(config), checkpoint=str(tmp_path / 'iter_40000.pth'))
    model = build(tiny_model(type='KDEncoderDecoder', teacher=lost, kd_losses=KD_LOSSES))
    with pytest.raises(UserError, match=r'train the teacher, `python tools/train.py .*teacher.py`'):
        model.loss(*batch())


def test_a_message_names_the_key_of_one_of_several_teachers(teacher: dict, tmp_path: Path) -> None:
    lost = teacher | dict(checkpoint=str(tmp_path / 'iter_40000.pth'))
    losses = {'kl_loss': KD_LOSSES['kl_loss'] | dict(teacher='big')}
    big = dict(big=lost, small=teacher)
    model = build(tiny_model(type='KDEncoderDecoder', teacher=big, kd_losses=losses))
    with pytest.raises(UserError, match=r'point model.teacher.big.checkpoint at your file'):
        model.loss(*batch())


def test_a_mistake_in_the_teachers_config_names_it(teacher: dict) -> None:
    config = copy.deepcopy(teacher['config'])
    config['backbone']['embed_dim'] = 8
    wrong = teacher | dict(config=config)
    model = build(tiny_model(type='KDEncoderDecoder', teacher=wrong, kd_losses=KD_LOSSES))
    with pytest.raises(UserError, match=r'^model\.teacher\.config: .*embed_dim'):
        model.loss(*batch())


def test_other_classes_are_refused(teacher: dict, tmp_path: Path) -> None:
    config = copy.deepcopy(teacher['config'])
    config['decode_head']['num_classes'] = 11
    torch.save({'state_dict': build(config).state_dict()}, tmp_path / 'eleven.pth')
    eleven = dict(config=config, checkpoint=str(tmp_path / 'eleven.pth'))
    model = build(tiny_model(type='KDEncoderDecoder', teacher=eleven, kd_losses=KD_LOSSES))
    with pytest.raises(UserError, match=r'has 11 classes, the student 12'):
        model.loss(*batch())
    with pytest.raises(UserError, match='the checkpoint has 11 classes, the model 12'):
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


def test_a_teacher_of_its_own_precision_has_what_was_set_after_the_trial(teacher: dict) -> None:
    cfg = dict(teacher=teacher | dict(dtype='bfloat16'), kd_losses=KD_LOSSES)
    model = build(tiny_model(type='KDEncoderDecoder', **cfg))
    # Building it runs the losses once.
    own = model.build_teacher()
    let_launches_be_free(model)
    model.teachers.start(model)
    own(batch()[0], ['logits'])
    (copy,) = own._cast.values()
    assert copy.decode_head.linear_fuse.launches_are_free


def test_a_teacher_that_moves_computes_nothing_where_it_was(teacher: dict) -> None:
    cfg = dict(teacher=teacher | dict(dtype='bfloat16'), kd_losses=KD_LOSSES)
    own = build(tiny_model(type='KDEncoderDecoder', **cfg)).build_teacher().to('meta')
    with torch.autocast('cpu', torch.bfloat16):
        assert next(own._segmentor_for('cpu').parameters()).is_meta


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
