"""The recorded step: what it needs, tensors for scheduled numbers, and on a GPU itself."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from logging import getLogger
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapperDict, build_optim_wrapper
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmseg_kd.config import enable_amp, load_config
from mmseg_kd.distillation.base import KDLoss
from mmseg_kd.engine.compilation import record_training_step
from mmseg_kd.engine.graphed_step import MOST_KINDS, GraphedStep, cannot_record
from mmseg_kd.models.launches import KnowsLaunches, let_launches_be_free
from mmseg_kd.registry import MODELS

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
SCHEDULED = dict(
    kl_loss=dict(
        type='KLDivergenceLoss',
        temperature=dict(type='CosineDecay', value=8.0, end=12, stop=0.5),
        loss_weight=dict(type='LinearWarmup', value=1.0, end=12, start=0.1),
    ),
    at_loss=dict(
        type='AttentionTransferLoss', loss_weight=dict(type='Stop', value=1.0, at_iter=10)
    ),
)


def student(**losses: dict[str, Any]) -> Config:
    cfg = load_config('local_configs/toy/segformer.b0.toy.kd.py')
    cfg.model.teacher = dict(type='EMATeacher')
    cfg.model.kd_losses = losses or SCHEDULED
    cfg.model.decode_head.dropout_ratio = 0.0
    return cfg


def batch(seed: int) -> dict[str, list]:
    generator = torch.Generator().manual_seed(seed)
    samples = [
        SegDataSample(
            gt_sem_seg=PixelData(data=torch.randint(0, 12, (1, 128, 128), generator=generator))
        )
        for _ in range(2)
    ]
    images = torch.randint(0, 256, (2, 3, 128, 128), generator=generator, dtype=torch.uint8)
    return dict(inputs=list(images), data_samples=samples)


def train(cfg: Config, device: str, graph: bool, notes: list[str]) -> list[dict[str, float]]:
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).to(device).train()
    model.build_teacher()
    model.teachers.start(model)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    # A recorded step chooses other kernels than an eager one, which differ by rounding.
    let_launches_be_free(model)
    step = GraphedStep(model, notes.append) if graph else model.train_step
    logs = []
    # Iterations 6 to 9 replay two kinds of steps, with gradients and without.
    for i in range(12):
        model.kd_losses.set_iteration(i)
        if i % 2 == 0:
            model.kd_losses.request_gradients()
        logs.append({k: float(v) for k, v in step(batch(i), wrapper).items()})
        if i % 2 == 0:
            own, stats = model.kd_losses.take_gradients()
            logs[-1] |= {'own': own.features, 'kl': stats['kl_loss'].cosine}
        model.teachers.step(model)
    assert not graph or notes or len(step._recordings) == 2
    return logs


def test_tensors_in_the_place_of_scheduled_numbers() -> None:
    torch.manual_seed(0)
    model = MODELS.build(student().model).train()
    model.build_teacher()
    copied = copy.deepcopy(model)
    copied.kd_losses.put_numbers_on(torch.device('cpu'))
    for iteration in (0, 3, 9, 12):
        values = []
        for each in (model, copied):
            each.kd_losses.set_iteration(iteration)
            torch.manual_seed(1)
            data = each.data_preprocessor(batch(0), True)
            values.append(each.loss(**data))
        assert values[0].keys() == values[1].keys()
        for name, value in values[0].items():
            torch.testing.assert_close(values[1][name], value)
        assert copied.kd_losses.step_kind() == model.kd_losses.step_kind()
    # A value that is kept stays what it was.
    before = values[1]['kl_weight']
    copied.kd_losses.set_iteration(0)
    assert float(before) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ('options', 'reason'),
    [
        ({}, None),
        ({'optim_wrapper.clip_grad': dict(max_norm=1.0)}, 'clip_grad'),
        ({'optim_wrapper.accumulative_counts': 2}, 'accumulative_counts'),
        ({'optim_wrapper.optimizer.fused': False}, 'fused=True'),
        ({'model.data_preprocessor.type': 'SegDataPreProcessor'}, 'BatchDataPreProcessor'),
    ],
    ids=str,
)
def test_what_cannot_be_recorded_is_named(options: dict, reason: str | None) -> None:
    cfg = load_config('local_configs/toy/segformer.b0.toy.py')
    cfg.merge_from_dict(options)
    model = MODELS.build(cfg.model)
    found = cannot_record(model, build_optim_wrapper(model, cfg.optim_wrapper))
    assert found is None if reason is None else reason in found


def test_a_model_of_several_processes_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('mmseg_kd.engine.graphed_step.is_distributed', lambda: True)
    cfg = load_config('local_configs/toy/segformer.b0.toy.py')
    model = MODELS.build(cfg.model)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    # As MMDistributedDataParallel: the model is its `module`.
    wrapped = torch.nn.Sequential(model)
    assert cannot_record(wrapped, wrapper) == 'several processes exchange gradients'


@pytest.mark.parametrize(
    'device, asked, clip_grad, line',
    [
        ('cuda', False, None, 'cuda_graph=True would record'),
        ('cuda', False, dict(max_norm=1.0), ''),
        ('cuda', True, dict(max_norm=1.0), 'runs eagerly (optim_wrapper.clip_grad reads'),
        ('cpu', False, None, ''),
        ('cpu', True, None, 'runs eagerly (it needs an NVIDIA GPU)'),
    ],
)
def test_a_run_is_told_of_the_faster_way_and_why_it_is_not_taken(
    device: str,
    asked: bool,
    clip_grad: dict | None,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr('mmseg_kd.engine.compilation.get_device', lambda: device)
    cfg = load_config('local_configs/toy/segformer.b0.toy.py')
    cfg.cuda_graph = asked
    cfg.optim_wrapper.clip_grad = clip_grad
    model = MODELS.build(cfg.model)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    caplog.set_level('INFO')
    record_training_step(
        SimpleNamespace(cfg=cfg, model=model, optim_wrapper=wrapper, logger=getLogger('run'))
    )
    assert line in caplog.text if line else 'cuda_graph' not in caplog.text


def without_a_gpu(monkeypatch: pytest.MonkeyPatch, error: Exception) -> tuple[list, list]:
    """Let a capture begin on a CPU and fail; return the captures and what is reset after one."""
    stream = SimpleNamespace(wait_stream=lambda other: None)
    begun, reset = [], []

    @contextmanager
    def capture(graph: object, **_: Any) -> Iterator[None]:
        begun.append(graph)
        yield
        raise error

    generator = SimpleNamespace(clone_state=lambda: 'copy', graphsafe_set_state=reset.append)
    for name, value in {
        'Stream': lambda: stream,
        'current_stream': lambda: stream,
        'stream': nullcontext,
        'graph_pool_handle': lambda: None,
        'CUDAGraph': lambda: None,
        'graph': capture,
        'default_generators': {None: generator},
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    for name in ('_cuda_endAllocateToPool', '_cuda_releasePool'):
        # A torch without CUDA has neither.
        monkeypatch.setattr(torch._C, name, lambda *_, name=name: reset.append(name), raising=False)
    return begun, reset


@pytest.mark.parametrize(
    'error',
    [
        # As after an operation that waits for the GPU.
        RuntimeError('CUDA error: operation failed due to a previous error during capture'),
        torch.OutOfMemoryError('CUDA out of memory'),
    ],
    ids=['invalid', 'memory'],
)
def test_training_continues_after_a_capture_that_failed(
    error: RuntimeError, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, reset = without_a_gpu(monkeypatch, error)
    notes: list[str] = []
    logs = train(student(), 'cpu', True, notes)
    assert len(logs) == 12
    assert len(begun) == len(notes) == 1
    assert str(error) in notes[0]
    assert reset == ['copy', '_cuda_endAllocateToPool', '_cuda_releasePool']


def test_a_setting_that_changes_all_the_time_ends_the_recording(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, _ = without_a_gpu(monkeypatch, RuntimeError('never reached'))
    model = MODELS.build(load_config('local_configs/toy/segformer.b0.toy.py').model).train()
    wrapper = build_optim_wrapper(model, student().optim_wrapper)
    notes: list[str] = []
    step = GraphedStep(model, notes.append)
    assert any(module.launches_are_free for module in knowing(model))
    for i in range(MOST_KINDS + 2):
        # As under a schedule of the weight decay.
        wrapper.optimizer.param_groups[0]['weight_decay'] = 0.01 * i
        step(batch(i), wrapper)
    assert not begun and len(step._steps) <= MOST_KINDS + 1
    assert len(notes) == 1 and 'keeps changing' in notes[0]
    # Eager steps use the kernels that are fastest for them.
    assert not any(module.launches_are_free for module in knowing(model))


def knowing(model: torch.nn.Module) -> list[KnowsLaunches]:
    return [module for module in model.modules() if isinstance(module, KnowsLaunches)]


def test_several_optimizers_are_not_recorded() -> None:
    cfg = load_config('local_configs/toy/segformer.b0.toy.py')
    model = MODELS.build(cfg.model)
    wrapper = OptimWrapperDict(all=build_optim_wrapper(model, cfg.optim_wrapper))
    assert cannot_record(model, wrapper) == 'several optimizers'


@pytest.mark.gpu
@needs_gpu
def test_a_loss_that_waits_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    cfg, notes = student(), []
    # It draws random numbers after the capture that failed.
    cfg.model.decode_head.dropout_ratio = 0.1
    raw = KDLoss.raw
    monkeypatch.setattr(KDLoss, 'raw', lambda *args: raw(*args) * raw(*args).item() ** 0)
    train(cfg, 'cuda', True, notes)
    assert len(notes) == 1 and 'runs eagerly' in notes[0]


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize('amp', [False, True], ids=['float32', 'bfloat16'])
def test_recorded_steps_equal_eager_ones(amp: bool) -> None:
    cfg = student()
    if amp:
        enable_amp(cfg)
    notes: list[str] = []
    eager = train(cfg, 'cuda', False, notes)
    recorded = train(cfg, 'cuda', True, notes)
    assert not notes
    for a, b in zip(eager, recorded, strict=True):
        assert a.keys() == b.keys()
        assert b == pytest.approx(a, rel=1e-3, abs=1e-4)
