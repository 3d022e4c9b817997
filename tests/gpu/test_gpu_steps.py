"""A step on a GPU waits for nothing, equals its recording, and equals the step on the CPU."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from gpu_cases import LOSSES, TOY, batch_of, build, config, no_chance, scheduled, toy_config
from mmengine.config import Config
from mmengine.model import BaseModel
from torch import Tensor

from measuring.steps import random_batch
from mmseg_kd.engine.graphed_step import GraphedStep
from mmseg_kd.models.launches import let_launches_be_free

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU'),
]

SEGFORMER = 'local_configs/segformer/B0/segformer.b0.512x512.camvid'
FPN = 'local_configs/scratch/fpn.r18.scratch.py'


@pytest.fixture(autouse=True)
def settings() -> Iterator[None]:
    precision = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(precision)
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.allow_tf32 = True


@pytest.mark.parametrize('amp', [False, True], ids=['float32', 'bfloat16'])
@pytest.mark.parametrize('name', ['base', 'fpn_r18', 'scheduled', *LOSSES])
def test_a_step_waits_for_nothing(name: str, amp: bool) -> None:
    plain = {'base': f'{TOY}.py', 'fpn_r18': FPN}
    cfg = config(plain[name]) if name in plain else toy_config(x=LOSSES.get(name, scheduled(100)))
    model, wrapper = build(cfg, 'cuda', amp=amp)
    data = batch_of(model, 2, 128)
    for _ in range(3):
        model.train_step(data, wrapper)
    torch.cuda.synchronize()
    try:
        torch.cuda.set_sync_debug_mode('error')
        model.train_step(data, wrapper)
    finally:
        torch.cuda.set_sync_debug_mode('default')


def graph_cases() -> dict[str, Callable[[], Config]]:
    attention = dict(type='AttentionTransferLoss')
    stopped = attention | dict(loss_weight=dict(type='Stop', value=1.0, at_iter=8))
    share = attention | dict(loss_weight=dict(type='GradientShare', share=0.2, interval=5))

    def ema() -> Config:
        cfg = toy_config(at=share)
        cfg.model.teacher = dict(type='EMATeacher')
        return cfg

    plain = {
        'TF32': lambda: config(f'{SEGFORMER}.kd.py'),
        'bfloat16': lambda: config(f'{SEGFORMER}.kd.py'),
        'scheduled weight and temperature': lambda: toy_config(kl=scheduled(12), at=stopped),
        'a share and an EMA teacher': ema,
        **{name: lambda loss=loss: toy_config(x=loss) for name, loss in LOSSES.items()},
    }
    cases = {name: lambda make=make: no_chance(make()) for name, make in plain.items()}
    return cases | {'dropout and drop path': plain['TF32']}


@pytest.mark.parametrize('name', graph_cases())
def test_twelve_recorded_steps_equal_eager_ones(name: str, record_property: Callable) -> None:
    torch.set_float32_matmul_precision('high')
    torch.use_deterministic_algorithms(True, warn_only=True)
    cfg = graph_cases()[name]()
    runs = [train(cfg, name == 'bfloat16', graph) for graph in (False, True, True)]
    (eager, weights), (recorded, recorded_weights), (again, again_weights) = runs
    differences = [abs(a - b) / abs(a) for a, b in zip(eager, recorded, strict=True)]
    record_property('loss', max(differences))
    record_property('weights', float((weights - recorded_weights).norm() / weights.norm()))
    assert max(differences) < 1e-4
    assert recorded == again and torch.equal(recorded_weights, again_weights)


def train(cfg: Config, amp: bool, graph: bool) -> tuple[list[float], Tensor]:
    model, wrapper = build(cfg, 'cuda', amp=amp)
    model.build_teacher()
    model.teachers.start(model)
    notes: list[str] = []
    # A recorded step chooses other kernels than an eager one, which differ by rounding.
    let_launches_be_free(model)
    step = GraphedStep(model, notes.append) if graph else model.train_step
    torch.manual_seed(1)
    losses = []
    for i in range(12):
        model.kd_losses.set_iteration(i)
        for group in wrapper.optimizer.param_groups:
            # Exact in float32, the precision of a recorded step's learning rate.
            group['lr'] = 2**-13 * (i + 1)
        losses.append(step(batch_of(model, 4, 128, seed=i % 3), wrapper)['loss'])
        model.teachers.step(model)
    assert not notes
    # Otherwise eager steps would be compared with eager ones.
    assert not graph or step._recordings
    weights = torch.cat([p.detach().flatten() for p in model.parameters()])
    return torch.stack(losses).tolist(), weights


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize('name', LOSSES)
def test_losses_and_gradients_equal_those_of_the_cpu(
    name: str,
    dtype: torch.dtype,
    record_property: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Random masks are drawn on the CPU for both.
    draw = torch.rand
    monkeypatch.setattr(
        torch, 'rand', lambda *size, device=None, **keys: draw(*size, **keys).to(device)
    )
    torch.set_float32_matmul_precision('highest')
    torch.backends.cudnn.allow_tf32 = False
    here, _ = build(no_chance(toy_config(x=LOSSES[name])), 'cpu')
    there = copy.deepcopy(here)
    # Copies of a student share their teachers.
    there.teachers.update({name: copy.copy(t) for name, t in here.teachers.items()})
    for teacher in there.teachers.values():
        teacher.segmentor = copy.deepcopy(teacher.segmentor)
    (a, norm_a), (b, norm_b) = losses_of(here, 'cpu', dtype), losses_of(there, 'cuda', dtype)
    # Attention weights are float32 in any case.
    gradient = 1e-6 if name == 'attention' else 1e-8
    record_property('gradient', abs(norm_a - norm_b) / norm_a)
    assert b == pytest.approx(a, rel=1e-8 if dtype == torch.float64 else 1e-4)
    assert norm_b == pytest.approx(norm_a, rel=gradient if dtype == torch.float64 else 1e-4)


def losses_of(model: BaseModel, device: str, dtype: torch.dtype) -> tuple[dict[str, float], float]:
    torch.manual_seed(0)
    model.to(device, dtype)
    for teacher in model.teachers.values():
        teacher.segmentor.to(device, dtype)
    data = model.data_preprocessor(random_batch(2, (128, 128), model.num_classes), True)
    losses = model.loss(data['inputs'].to(dtype), data['data_samples'])
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    norm = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()
    return {k: float(v) for k, v in losses.items() if 'loss' in k}, float(norm)


def test_predictions_equal_those_of_the_cpu() -> None:
    torch.set_float32_matmul_precision('highest')
    torch.backends.cudnn.allow_tf32 = False
    here, _ = build(config(f'{SEGFORMER}.py'), 'cpu')
    ids = []
    for model in (here.eval(), copy.deepcopy(here).to('cuda').eval()):
        with torch.no_grad():
            samples = model.test_step(random_batch(2, (360, 480), 12))
        ids.append(torch.stack([s.pred_sem_seg.data.cpu() for s in samples]))
    assert float((ids[0] != ids[1]).float().mean()) < 1e-3
