"""Time a training step and its parts, and count what it does."""

from __future__ import annotations

import copy
import gc
import statistics
from collections.abc import Callable
from typing import Any

import torch
from mmengine.config import Config
from torch.profiler import ProfilerActivity, profile

from gpu_steps.step import (
    SEGFORMER,
    Record,
    build,
    config,
    kd_config,
)
from measuring.lower_bound import busy_share, rates_of, work_of
from measuring.steps import build_pair, compute_dtype, random_batch, train_step
from measuring.timing import MIB, ratio, seconds_of
from mmseg_kd.engine.graphed_step import GraphedStep

BATCH, SIDE = 4, 512
ROUNDS, STEPS = 4, 8


# Model, float32_matmul_precision, what autocast is, and other options of the config.
SETTINGS: list[tuple[str, str, str, dict[str, Any]]] = [
    ('kd', 'high', 'amp', {}),
    ('kd', 'high', 'float32', {}),
    ('base', 'high', 'amp', {}),
    ('base', 'high', 'float32', {}),
    ('kd, teacher bfloat16', 'high', 'float32', dict(model__teacher__dtype='bfloat16')),
    ('kd', 'highest', 'float32', {}),
]


def steps(device: str, record: Record) -> None:
    """Time a step of stock mmseg, of this project, and recorded as a graph, in turns."""
    for name, precision, dtype, options in SETTINGS:
        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.allow_tf32 = precision != 'highest'
        torch.backends.cudnn.benchmark = True
        cfg = kd_config(**options) if name.startswith('kd') else config(f'{SEGFORMER}.py')
        kind = {'high': 'TF32', 'highest': 'float32'}[precision] if dtype == 'float32' else 'bf16'
        _time_setting(f'{name}, {kind}', cfg, dtype, device, record)
        gc.collect()
        torch.cuda.empty_cache()


def _time_setting(name: str, cfg: Config, dtype: str, device: str, record: Record) -> None:
    runs = _candidates(name, cfg, dtype, device, record)
    memory: dict[str, float] = {}
    for run_name, run in runs.items():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        for _ in range(6):
            run()
        torch.cuda.synchronize()
        memory[run_name] = (torch.cuda.max_memory_allocated() - before) / MIB
    ms: dict[str, list[float]] = {run: [] for run in runs}
    for _ in range(ROUNDS):
        for run_name, run in runs.items():
            ms[run_name].append(1e3 * seconds_of(run, STEPS))
    for run_name, run in runs.items():
        record(
            setting=name,
            run=run_name,
            ms=statistics.median(ms[run_name]),
            least=min(ms[run_name]),
            most=max(ms[run_name]),
            times_stock=ratio(ms['stock'], ms[run_name]).median,
            busy=busy_share(run, 10),
            kernels=_kernels(run),
            activations_MiB=memory[run_name],
        )
    if 'teacher' not in name:
        work, rates = work_of(runs['eager']), rates_of(device, compute_dtype(cfg, dtype))
        record(
            setting=name,
            run='lower bound',
            ms=1e3 * (work.flops / rates.flops + work.bytes / rates.bytes),
            GFLOP=work.flops / 1e9,
            GB=work.bytes / 1e9,
        )


def _candidates(
    name: str, cfg: Config, dtype: str, device: str, record: Record
) -> dict[str, Callable[[], object]]:
    torch.manual_seed(0)
    pair = build_pair(cfg, device)
    batch = random_batch(BATCH, (SIDE, SIDE), pair['stock'].num_classes)
    stock = train_step(pair['stock'], cfg, copy.deepcopy(batch), dtype, stock=True)
    packed = pair['mmseg_kd'].data_preprocessor.prepare(batch)
    eager = train_step(pair['mmseg_kd'], cfg, packed, dtype)
    graphed, wrapper = build(cfg, device, amp=dtype == 'amp')
    step = GraphedStep(graphed, lambda line: record(setting=name, error=line))
    return dict(stock=stock, eager=eager, graph=lambda: step(packed, wrapper))


def _kernels(run: Callable[[], object], times: int = 3) -> float:
    """Count kernels per step, and print those that take longest to the step's log."""
    with profile(activities=[ProfilerActivity.CUDA]) as recorded:
        for _ in range(times):
            run()
        torch.cuda.synchronize()
    kernels = recorded.key_averages()
    print(kernels.table(sort_by='self_device_time_total', row_limit=40))
    on_device = (x for x in kernels if x.device_type == torch.autograd.DeviceType.CUDA)
    return sum(kernel.count for kernel in on_device) / times
