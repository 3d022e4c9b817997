"""Shares, schedules, averaged and several teachers in a student."""

from pathlib import Path

import pytest
import torch
from conftest import KD_LOSSES, tiny_model
from kd_students import distilled, labelled_batch
from mmseg.registry import MODELS

from mmseg_kd.config import load_config
from mmseg_kd.errors import UserError


def test_an_average_of_the_student_teaches(teacher: dict) -> None:
    model = distilled(dict(type='EMATeacher', momentum=0.9), dict(kl_loss=KD_LOSSES['kl_loss']))
    ema = model.build_teacher()
    first = {k: v.clone() for k, v in model.state_dict().items()}
    buffers = dict(model.named_buffers())
    assert any(not x.is_floating_point() for x in buffers.values())
    images, _ = labelled_batch()
    taps = ema(images, ['logits'])['logits']
    assert torch.equal(taps, ema(images, ['logits'])['logits'])
    assert not taps.requires_grad
    with torch.no_grad():
        for each in (*model.parameters(), *buffers.values()):
            each.add_(1)
    model.teachers.step(model)
    # The first update counts half, whatever the momentum.
    average = ema.segmentor.state_dict()
    for name, start in first.items():
        # A count of batches has no average: it is the student's.
        half = start + 0.5 if start.is_floating_point() else start + 1
        torch.testing.assert_close(average[name], half)
    for _ in range(50):
        model.teachers.step(model)
    name = next(iter(dict(model.named_parameters())))
    torch.testing.assert_close(average[name], first[name] + 1 - 0.5 * _decays(50))
    assert set(model.state_dict()) == set(first)
    assert not torch.equal(taps, ema(images, ['logits'])['logits'])
    with pytest.raises(UserError, match='momentum'):
        distilled(dict(type='EMATeacher', momentum=1.0), KD_LOSSES).build_teacher()


def _decays(updates: int) -> float:
    product = 1.0
    for update in range(2, updates + 2):
        product *= min(0.9, 1 - 1 / (update + 1))
    return product


def test_several_teachers_by_weight_and_by_name(teacher: dict, tmp_path: Path) -> None:
    torch.manual_seed(9)
    other = dict(teacher, checkpoint=str(tmp_path / 'other.pth'))
    torch.save({'state_dict': MODELS.build(tiny_model()).state_dict()}, other['checkpoint'])
    images, samples = labelled_batch()
    kl = KD_LOSSES['kl_loss']

    def value(teachers: dict, **changes: object) -> float:
        model = distilled(teachers, dict(kl_loss=kl | changes))
        torch.manual_seed(5)
        return float(model.loss(images, samples)['kl_raw'])

    one, two = value(teacher), value(other)
    both = dict(first=teacher, second=other)
    assert one != pytest.approx(two, rel=1e-3)
    assert value(both) == pytest.approx((one + two) / 2, rel=1e-5)
    assert value(both, teacher='second') == pytest.approx(two, rel=1e-6)
    assert value(both, teacher=dict(first=0.25, second=2.0)) == pytest.approx(
        0.25 * one + 2 * two, rel=1e-5
    )
    with pytest.raises(UserError, match=r"no teacher is 'third'; there are first, second"):
        value(both, teacher='third')


@pytest.mark.parametrize(
    ('teacher_keys', 'message'),
    [
        ("dict(type='EMATeacher', momentun=0.9)", 'momentum'),
        ("dict(a=dict(config='x.py'), b=dict(type='EMATeacher'))", 'checkpoint is missing'),
        ("dict(a=dict(type='EMATeachr'))", 'EMATeacher'),
    ],
)
def test_mistakes_in_the_config_are_named(tmp_path: Path, teacher_keys: str, message: str) -> None:
    config = tmp_path / 'config.py'
    base = Path(__file__).parents[2] / 'local_configs' / 'toy' / 'segformer.b0.toy.py'
    config.write_text(
        f'_base_ = {str(base)!r}\n'
        f"model = dict(type='KDEncoderDecoder', teacher={teacher_keys}, "
        "kd_losses=dict(kl=dict(type='KLDivergenceLoss')))\n"
    )
    with pytest.raises(UserError, match=message):
        load_config(str(config))


def test_maps_that_do_not_fit_are_told_before_the_first_batch(teacher: dict) -> None:
    fitnet = dict(type='FitNetLoss', student_channels=7, teacher_channels=32)
    model = distilled(teacher, dict(fit_loss=fitnet))
    with pytest.raises(UserError, match='has 32 channels, not 7'):
        model.build_teacher()
    with pytest.raises(UserError, match='one adapter cannot fit 2 teachers; name one'):
        distilled(dict(a=teacher, b=teacher), dict(fit_loss=fitnet | dict(student_channels=32)))
    grid = dict(type='SimilarityPreservingLoss', mode='pixel', grid=(0, 0))
    with pytest.raises(UserError, match=r'^model\.kd_losses\.sp_loss: .*zero'):
        distilled(teacher, dict(kl=KD_LOSSES['kl_loss'], sp_loss=grid)).build_teacher()
    two = fitnet | dict(teacher=dict(b=1.0, c=1.0))
    with pytest.raises(UserError, match="cannot fit 2 teachers; name one, such as teacher='b'"):
        distilled(dict.fromkeys('abc', teacher), dict(fit_loss=two))
