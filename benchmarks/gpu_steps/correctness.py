"""Compare a GPU with a CPU, and a recorded step with an eager one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from torch import Tensor

from gpu_steps.step import (
    LOSSES,
    SEGFORMER,
    TOY,
    Record,
    attempt,
    batch_of,
    build,
    config,
    kd_config,
    no_chance,
    toy_config,
)
from measuring.steps import random_batch
from mmseg_kd.engine.graphed_step import GraphedStep


def waits(device: str, record: Record) -> None:
    """Train a step in which every wait for the GPU is an error."""
    cases = {
        'base': config(f'{TOY}.py'),
        **{name: toy_config(x=loss) for name, loss in LOSSES.items()},
        'scheduled': toy_config(kl=_scheduled(end=100)),
        'fpn_r18': config('local_configs/scratch/fpn.r18.scratch.py'),
    }
    for name, cfg in cases.items():
        for amp in (False, True) if name in ('base', 'at', 'fpn_r18') else (False,):
            with attempt(record, case=name, amp=amp):
                model, wrapper = build(cfg, device, amp=amp)
                data = batch_of(model, 2, 128)
                for _ in range(3):
                    model.train_step(data, wrapper)
                torch.cuda.synchronize()
                try:
                    torch.cuda.set_sync_debug_mode('error')
                    model.train_step(data, wrapper)
                finally:
                    torch.cuda.set_sync_debug_mode('default')
                record(case=name, amp=amp, waits='none')


def _scheduled(end: int) -> dict[str, Any]:
    return dict(
        type='KLDivergenceLoss',
        temperature=dict(type='CosineDecay', value=8.0, end=end, stop=0.5),
        loss_weight=dict(type='LinearWarmup', value=1.0, end=10, start=0.1),
    )


def graph_equals_eager(device: str, record: Record) -> None:
    """Train twelve steps eagerly and recorded, from the same weights, and compare."""
    torch.backends.cudnn.benchmark = False
    torch.set_float32_matmul_precision('high')
    torch.use_deterministic_algorithms(True, warn_only=True)
    for name, cfg in _graph_cases().items():
        with attempt(record, case=name):
            side = 512 if name.startswith('kd') else 128
            amp = name == 'kd bf16'
            runs = [_train(cfg, device, amp, graph, side, size=4) for graph in (False, True, True)]
            (eager, weights), (graphed, graph_weights), (again, again_weights) = runs
            pairs = zip(eager, graphed, strict=True)
            record(
                case=name,
                loss_first=eager[0],
                loss_last=eager[-1],
                graph_last=graphed[-1],
                largest_relative_difference=max(abs(a - b) / abs(a) for a, b in pairs),
                weights_relative=_difference(weights, graph_weights),
                twice_the_same=graphed == again and _difference(graph_weights, again_weights) == 0,
            )


def _graph_cases() -> dict[str, Config]:
    attention = dict(type='AttentionTransferLoss')
    stopped = attention | dict(loss_weight=dict(type='Stop', value=1.0, at_iter=8))
    share = attention | dict(loss_weight=dict(type='GradientShare', share=0.2, interval=5))
    ema = toy_config(at=share)
    ema.model.teacher = dict(type='EMATeacher')
    plain = {
        'kd TF32': kd_config(),
        'kd bf16': kd_config(),
        'toy, scheduled weight and temperature': toy_config(kl=_scheduled(end=12), at=stopped),
        'toy, a share and an EMA teacher': ema,
        **{f'toy {name}': toy_config(x=loss) for name, loss in LOSSES.items()},
    }
    cases = {name: no_chance(cfg) for name, cfg in plain.items()}
    return cases | {'kd TF32, dropout and drop path': kd_config()}


def _train(
    cfg: Config, device: str, amp: bool, graph: bool, side: int, size: int, steps: int = 12
) -> tuple[list[float], Tensor]:
    model, wrapper = build(cfg, device, amp=amp)
    if hasattr(model, 'teachers'):
        model.build_teacher()
        model.teachers.start(model)
    notes: list[str] = []
    step: Callable = GraphedStep(model, notes.append) if graph else model.train_step
    torch.manual_seed(1)
    losses = []
    for i in range(steps):
        if hasattr(model, 'kd_losses'):
            model.kd_losses.set_iteration(i)
        for group in wrapper.optimizer.param_groups:
            group['lr'] = 1e-4 * (i + 1)
        losses.append(step(batch_of(model, size, side, seed=i % 3), wrapper)['loss'])
        if hasattr(model, 'teachers'):
            model.teachers.step(model)
    if notes:
        raise RuntimeError('; '.join(notes))
    weights = torch.cat([p.detach().flatten() for p in model.parameters()])
    return torch.stack(losses).tolist(), weights


def _difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / a.norm())


def cpu_equals_gpu(device: str, record: Record) -> None:
    """Compute losses and gradients on both devices, in float64 and float32, and predict."""
    torch.set_float32_matmul_precision('highest')
    torch.backends.cudnn.allow_tf32 = False
    cases = {'toy kd': toy_config(), **{n: toy_config(x=loss) for n, loss in LOSSES.items()}}
    for name, cfg in cases.items():
        with attempt(record, case=name):
            here, _ = build(no_chance(cfg), 'cpu')
            there = copy.deepcopy(here)
            # Copies of a student share their teachers.
            there.teachers.update({name: copy.copy(t) for name, t in here.teachers.items()})
            for teacher in there.teachers.values():
                teacher.segmentor = copy.deepcopy(teacher.segmentor)
            row: dict[str, Any] = dict(case=name)
            for dtype in (torch.float64, torch.float32):
                results = [
                    _losses(model, where, dtype)
                    for model, where in ((here, 'cpu'), (there, device))
                ]
                (a, norm_a), (b, norm_b) = results
                row[f'{dtype} losses'] = max(abs(a[k] - b[k]) / max(abs(a[k]), 1e-12) for k in a)
                row[f'{dtype} gradient'] = abs(norm_a - norm_b) / norm_a
            record(**row)
    here, _ = build(config(f'{SEGFORMER}.py'), 'cpu')
    there = copy.deepcopy(here).to(device)
    batch = random_batch(2, (360, 480), 12)
    ids = []
    for model in (here.eval(), there.eval()):
        with torch.no_grad():
            samples = model.test_step(copy.deepcopy(batch))
        ids.append(torch.stack([s.pred_sem_seg.data.cpu() for s in samples]))
    record(case='class ids that differ', share=float((ids[0] != ids[1]).float().mean()))


def _losses(model: BaseModel, device: str, dtype: torch.dtype) -> tuple[dict[str, float], float]:
    model.to(device, dtype)
    for teacher in model.teachers.values():
        teacher.segmentor.to(device, dtype)
    data = model.data_preprocessor(random_batch(2, (128, 128), model.num_classes), True)
    model.zero_grad()
    losses = model.loss(data['inputs'].to(dtype), data['data_samples'])
    total = sum(value for name, value in losses.items() if 'loss' in name)
    total.backward()
    norm = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()
    return {k: float(v) for k, v in losses.items() if 'loss' in k}, float(norm)
