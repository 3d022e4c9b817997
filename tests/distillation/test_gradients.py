"""The measured gradients of losses equal those of plain differentiation."""

import json
import math
from pathlib import Path

import pytest
import torch
from conftest import KD_LOSSES, tiny_model
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch.distributed import destroy_process_group, init_process_group

from mmseg_kd.distillation.gradients import (
    GradientStats,
    is_due,
    measure_gradients,
    read_table,
    shares,
    update_shares,
    weight_for,
)


def measured(task, losses, features, logits) -> tuple[GradientStats, dict[str, GradientStats]]:
    return read_table(measure_gradients(task, losses, features, logits), losses)


def test_norms_and_cosines_by_hand() -> None:
    first = torch.tensor([[[[1.0, 2.0]]]], requires_grad=True)
    second = torch.tensor([[[[3.0]]]], requires_grad=True)
    logits = first * 2
    # The gradients at (first, second) are (3, 4; 0), (0, 0; 7) and, through the logits, (0, 10; 0).
    task = (first * torch.tensor([3.0, 4.0])).sum()
    losses = {'other': 7 * second.sum(), 'same': 5 * logits[..., 1].sum(), 'none': torch.ones(())}
    own, stats = measured(task, losses, [first, second], logits)
    assert own == GradientStats(5.0, 0.0, 1.0)
    assert stats['other'] == GradientStats(7.0, 0.0, 0.0)
    assert stats['same'] == GradientStats(10.0, 5.0, pytest.approx(0.8))
    assert (stats['none'].features, stats['none'].logits) == (0.0, 0.0)
    assert math.isnan(stats['none'].cosine)


@pytest.mark.parametrize('norm', [0.0, math.inf, math.nan])
def test_a_gradient_without_a_size_is_no_measurement(norm: float) -> None:
    share = dict(type='GradientShare', share=0.5)
    loss = MODELS.build(KD_LOSSES['kl_loss'] | dict(loss_weight=share))
    task = GradientStats(1.0, 0.0, 1.0)
    update_shares({'kl': loss}, task, {'kl': GradientStats(norm, 0.0, 0.0)})
    assert loss.loss_weight.measurements == 0
    update_shares({'kl': loss}, task, {'kl': GradientStats(4.0, 0.0, 0.0)})
    assert (loss.loss_weight.measurements, loss.weight) == (1, 0.25)


def test_against_plain_differentiation() -> None:
    torch.manual_seed(0)
    image, target = torch.randn(2, 3, 8, 8), torch.randn(2, 5, 4, 4)
    one, two = torch.nn.Conv2d(3, 4, 3, 2, 1), torch.nn.Conv2d(4, 5, 3, 1, 1)
    features = one(image)
    logits = two(features.relu())
    losses = {'mse': (logits - target).square().mean(), 'l1': features.abs().mean()}
    task = -logits.log_softmax(1)[:, 0].mean()
    own, stats = measured(task, losses, [features], logits)
    gradients = {}
    for name, loss in {'task': task, **losses}.items():
        gradients[name] = torch.autograd.grad(loss, features, retain_graph=True)[0].double()
    for name, pull in {'task': own, **stats}.items():
        mine, reference = gradients[name].flatten(), gradients['task'].flatten()
        assert pull.features == pytest.approx(float(mine.norm()), rel=1e-5)
        cosine = float(mine @ reference / mine.norm() / reference.norm())
        assert pull.cosine == pytest.approx(cosine, abs=1e-5)
        assert -1 <= pull.cosine <= 1
    (at_logits,) = torch.autograd.grad(losses['mse'], logits, retain_graph=True)
    assert stats['mse'].logits == pytest.approx(float(at_logits.norm()), rel=1e-5)
    assert stats['l1'].logits == 0
    # The graph is still there for the training step, and no weight has a gradient yet.
    assert all(p.grad is None for p in (*one.parameters(), *two.parameters()))
    (task + losses['mse']).backward()


def test_float16_does_not_underflow() -> None:
    wide = torch.rand(1, 1, 100, 100).half().requires_grad_()
    weak = wide.float().mean() * 1e-5
    task = wide.float().sum()
    _, stats = measured(task, {'weak': weak}, [wide], wide)
    # Each of 10^4 places has a gradient of 10^-9, where float16 ends at 6 * 10^-8.
    assert stats['weak'].features == pytest.approx(1e-7, rel=0.05)
    assert stats['weak'].cosine == pytest.approx(1.0, abs=1e-3)


def test_a_frozen_stage_has_no_gradient() -> None:
    frozen, x = torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2, requires_grad=True)
    own, stats = measured((frozen * x).sum(), {'a': 2 * x.sum()}, [frozen, x], x)
    assert (own.features, stats['a'].features) == (2.0, 4.0)


def test_a_weight_scales_the_norms() -> None:
    assert GradientStats(2.0, 3.0, 0.5) * 4 == GradientStats(8.0, 12.0, 0.5)


def _two_processes(rank: int, file: str, results: str) -> None:
    init_process_group('gloo', f'file:///{file.lstrip("/")}', rank=rank, world_size=2)
    x = torch.linspace(1, 2, 6).view(1, 1, 2, 3).requires_grad_()
    task = (1.0, 6.0)[rank] * (x * torch.linspace(-1, 1, 3)).sum()
    _, stats = measured(task, {'same': 0.5 * task, 'opposite': -2 * task}, [x], 1 * x)
    Path(results, f'{rank}.json').write_text(json.dumps([s.cosine for s in stats.values()]))
    destroy_process_group()


def test_a_cosine_over_two_processes_is_at_most_1(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_two_processes, (str(tmp_path / 'rendezvous'), str(tmp_path)), 2)
    for rank in range(2):
        assert json.loads((tmp_path / f'{rank}.json').read_text()) == pytest.approx([1.0, -1.0])


def test_a_stopped_share_leaves_the_gradient_to_the_others() -> None:
    share = dict(type='GradientShare', share=0.4, until=None, interval=1, momentum=0.0)
    weights = {'kl': share, 'at': dict(type='Stop', at_iter=3, value=share)}
    losses = {
        n: MODELS.build(KD_LOSSES['kl_loss'] | dict(loss_weight=w)) for n, w in weights.items()
    }
    task, stats = GradientStats(1.0, 0.0, 1.0), GradientStats(2.0, 0.0, 0.0)
    for iteration in range(5):
        for loss in losses.values():
            loss.set_iteration(iteration)
        due = {name for name, loss in losses.items() if is_due(loss)}
        assert due == ({'kl', 'at'} if iteration < 3 else {'kl'})
        update_shares(losses, task, dict.fromkeys(losses, stats))
    assert losses['at'].weight == 0
    assert 2 * losses['kl'].weight / (1 + 2 * losses['kl'].weight) == pytest.approx(0.4)


def test_shares_and_the_weight_that_gives_one() -> None:
    task, a, b = (GradientStats(norm, 0.0, 0.0) for norm in (6.0, 3.0, 1.0))
    assert shares(task, {'a': a, 'b': b}) == pytest.approx({'task': 0.6, 'a': 0.3, 'b': 0.1})
    weight = weight_for(0.25, a, 7.0)
    assert shares(task, {'a': a * weight, 'b': b})['a'] == pytest.approx(0.25)
    assert math.isnan(weight_for(0.25, GradientStats(0.0, 1.0, math.nan), 7.0))
    nothing = GradientStats(0.0, 0.0, math.nan)
    assert shares(nothing, {'a': nothing}) == {'task': 0.0, 'a': 0.0}


def test_the_model_measures_what_passes_its_backbone(teacher: dict) -> None:
    torch.manual_seed(0)
    model = tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=KD_LOSSES)
    model = MODELS.build(model)
    # Without dropout and stochastic depth a second forward pass is the same.
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout | torch.nn.Dropout2d):
            module.p = 0.0
        if hasattr(module, 'drop_path'):
            module.drop_path = 0.0
    images = torch.randn(2, 3, 64, 64)
    labels = torch.randint(0, 12, (2, 1, 64, 64))
    samples = [SegDataSample(gt_sem_seg=PixelData(data=x)) for x in labels]

    model.build_teacher()
    kept = []
    blocks = [getattr(model.backbone, f'block{i}')[-1] for i in (1, 2, 3, 4)]
    handles = [b.register_forward_hook(lambda m, i, o: kept.append(o)) for b in blocks]
    model.kd_losses.request_gradients()
    losses = model.loss(images, samples)
    task, stats = model.kd_losses.take_gradients()
    for handle in handles:
        handle.remove()
    terms = {'task': losses['decode.loss_ce'], **{name: losses[name] for name in KD_LOSSES}}
    flat = {}
    for name, loss in terms.items():
        found = torch.autograd.grad(loss, kept, retain_graph=True, allow_unused=True)
        found = [torch.zeros_like(x) if g is None else g for x, g in zip(kept, found, strict=True)]
        flat[name] = torch.cat([g.flatten() for g in found]).double()
    for name, pull in {'task': task, **stats}.items():
        mine, reference = flat[name], flat['task']
        assert float(mine.norm()) > 0, name
        assert pull.features == pytest.approx(float(mine.norm()), rel=1e-4), name
        cosine = float(mine @ reference / mine.norm() / reference.norm())
        assert pull.cosine == pytest.approx(cosine, abs=1e-4), name
    assert stats['kl_loss'].logits > 0
    assert stats['at_loss'].logits == stats['sp_loss'].logits == 0
