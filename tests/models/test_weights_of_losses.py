"""Shares of the gradient, schedules and weights of a student that trains."""

import pytest
import torch
from conftest import KD_LOSSES
from kd_students import distilled, labelled_batch

from mmseg_kd.distillation.distillation_losses import DistillationLosses
from mmseg_kd.distillation.gradients import shares
from mmseg_kd.errors import UserError


def features_norm(model: torch.nn.Module, images: torch.Tensor, samples: list, name: str) -> float:
    """Norm of one loss' gradient at the inputs of the backbone's last norms, by plain autograd."""
    kept = []
    hooks = [
        module.register_forward_hook(lambda m, i, o: kept.append(o))
        for module in (
            model.backbone.get_submodule(model.backbone.tap_aliases[f'stage{i}.pre_norm'])
            for i in (1, 2, 3, 4)
        )
    ]
    torch.manual_seed(5)
    value = model.loss(images, samples)[name]
    for hook in hooks:
        hook.remove()
    gradients = torch.autograd.grad(value, kept, allow_unused=True)
    return float(torch.cat([g.flatten() for g in gradients if g is not None]).norm())


def test_a_share_of_the_gradient_is_what_was_asked_for(teacher: dict) -> None:
    model = distilled(
        teacher,
        dict(
            kl_loss=KD_LOSSES['kl_loss'] | dict(loss_weight=dict(type='GradientShare', share=0.3)),
            at_loss=KD_LOSSES['at_loss'] | dict(loss_weight=dict(type='GradientShare', share=0.2)),
            sp_loss=KD_LOSSES['sp_loss'] | dict(loss_weight=7.0),
        ),
    )
    images, samples = labelled_batch()
    norms = {}
    torch.manual_seed(5)
    model.kd_losses.request_gradients()
    model.loss(images, samples)
    found = shares(*model.kd_losses.take_gradients())
    assert found['kl_loss'] == pytest.approx(0.3, abs=1e-4)
    assert found['at_loss'] == pytest.approx(0.2, abs=1e-4)
    # The same by plain autograd; the weight stays as it was measured.
    model.kd_losses.set_iteration(1)
    for name in ('decode.loss_ce', 'kl_loss', 'at_loss', 'sp_loss'):
        norms[name] = features_norm(model, images, samples, name)
    total = sum(norms.values())
    assert norms['kl_loss'] / total == pytest.approx(0.3, abs=1e-3)
    assert norms['at_loss'] / total == pytest.approx(0.2, abs=1e-3)
    assert model.kd_losses.take_gradients() is None


def test_only_a_weight_is_a_share(teacher: dict) -> None:
    share = dict(type='GradientShare', share=0.1)
    for setting in (share, dict(type='LinearWarmup', end=9, value=share)):
        losses = dict(kl_loss=KD_LOSSES['kl_loss'] | dict(temperature=setting))
        with pytest.raises(
            UserError, match=r'kl_loss.temperature: GradientShare is for loss_weight'
        ):
            distilled(teacher, losses)


def test_shares_must_leave_something_to_the_labels(teacher: dict) -> None:
    half = dict(type='GradientShare', share=0.5)
    with pytest.raises(UserError, match='sum to 1'):
        distilled(teacher, {k: v | dict(loss_weight=dict(half)) for k, v in KD_LOSSES.items()})


def test_measuring_does_not_change_the_step(teacher: dict) -> None:
    images, samples = labelled_batch()
    gradients = []
    for measure in (False, True):
        model = distilled(teacher, KD_LOSSES)
        if measure:
            model.kd_losses.request_gradients()
        torch.manual_seed(5)
        losses = model.loss(images, samples)
        sum(value for name, value in losses.items() if 'loss' in name).backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
        assert (model.kd_losses.take_gradients() is not None) is measure
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_a_stopped_loss_runs_no_teacher(teacher: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    model = distilled(
        teacher,
        dict(
            kl_loss=KD_LOSSES['kl_loss'] | dict(loss_weight=dict(type='Stop', value=2, at_iter=1))
        ),
    )
    images, samples = labelled_batch()
    values = model.loss(images, samples)
    assert float(values['kl_loss'].detach()) == pytest.approx(2 * float(values['kl_raw']))
    assert float(values['kl_weight']) == 2
    model.kd_losses.set_iteration(1)
    monkeypatch.setattr(model.build_teacher().segmentor, 'forward', None)
    values = model.loss(images, samples)
    assert float(values['kl_loss']) == 0
    assert 'kl_raw' not in values


def test_a_loss_with_parameters_stays_active() -> None:
    # DDP waits for the gradient of each of them.
    fitnet = dict(type='FitNetLoss', student_channels=32, teacher_channels=32)
    stop = dict(loss_weight=dict(type='Stop', value=1.0, at_iter=1))
    losses = DistillationLosses(
        dict(fit=fitnet | stop, kl_loss=KD_LOSSES['kl_loss'] | stop), ['teacher']
    )
    assert [*losses.active_losses()] == ['fit', 'kl_loss']
    losses.set_iteration(1)
    assert [*losses.active_losses()] == ['fit']


def test_a_temperature_follows_its_schedule(teacher: dict) -> None:
    images, samples = labelled_batch()
    values = {}
    for name, temperature in (
        ('plain', 2.0),
        ('scheduled', dict(type='LinearWarmup', value=4.0, end=4, start=0.25)),
    ):
        model = distilled(teacher, dict(kl=dict(type='KLDivergenceLoss', temperature=temperature)))
        model.kd_losses.set_iteration(0 if name == 'plain' else 4 // 3)
        torch.manual_seed(5)
        values[name] = float(model.loss(images, samples)['kl_raw'])
    # 0.25 * 4 at 0, 4 at 4; at 1 it is 1.75, not 2.
    assert values['scheduled'] != pytest.approx(values['plain'], rel=1e-3)
    model.kd_losses.set_iteration(0)
    model.kd_losses['kl'].iteration = 4 / 3
    torch.manual_seed(5)
    assert float(model.loss(images, samples)['kl_raw']) == pytest.approx(values['plain'], rel=1e-4)


def test_a_share_counts_only_the_shares_that_are_active(teacher: dict) -> None:
    early = dict(type='GradientShare', share=0.1, interval=1)
    late = dict(type='GradientShare', share=0.5, begin=100, interval=1)
    weights = {}
    for name, others in (('alone', {}), ('before', {'at_loss': late})):
        losses = dict(kl_loss=KD_LOSSES['kl_loss'] | dict(loss_weight=early))
        losses |= {key: KD_LOSSES[key] | dict(loss_weight=value) for key, value in others.items()}
        torch.manual_seed(3)
        model = distilled(teacher, losses)
        torch.manual_seed(3)
        model.loss(*labelled_batch())
        weights[name] = model.kd_losses['kl_loss'].weight
    assert weights['before'] == pytest.approx(weights['alone'], rel=1e-5)
    assert weights['alone'] > 0


@pytest.mark.parametrize(
    ('losses', 'message'),
    [
        (dict(kl_loss=KD_LOSSES['kl_loss'] | dict(loss_weight=-1.0)), 'is negative'),
        (dict(kl_loss=KD_LOSSES['kl_loss'] | dict(teacher=3)), 'neither a teacher'),
        (dict(kl_loss=KD_LOSSES['kl_loss'] | dict(teacher=dict(a=-1.0))), 'neither a teacher'),
        (dict(kl_loss=KD_LOSSES['kl_loss'] | dict(teacher=['a'])), 'neither a teacher'),
    ],
)
def test_weights_and_teachers_that_make_no_sense(teacher: dict, losses: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        distilled(teacher, losses)
