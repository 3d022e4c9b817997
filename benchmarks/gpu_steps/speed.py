"""Time a training step of stock mmseg, of this project, and recorded as a graph."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch.profiler import ProfilerActivity, profile

from measuring.steps import build_own, build_pair, random_batch, train_step
from measuring.timing import interleaved, peak_memory
from mmseg_kd.config import enable_amp, load_config
from mmseg_kd.engine.graphed_step import GraphedStep

SEGFORMER = 'local_configs/segformer/B0/segformer.b0.512x512.camvid'
SIDE = 512
ROUNDS = 4
# Images in a batch and calls that are timed together.
BATCH, CALLS = {'cuda': 4, 'cpu': 2}, {'cuda': 8, 'cpu': 1}
# Config, float32_matmul_precision, --amp, and other options of the config.
SETTINGS: list[tuple[str, str, bool, dict[str, Any]]] = [
    ('kd', 'high', True, {}),
    ('kd', 'high', False, {}),
    ('base', 'high', True, {}),
    ('base', 'high', False, {}),
    ('kd, teacher bfloat16', 'high', False, {'model.teacher.dtype': 'bfloat16'}),
    ('kd', 'highest', False, {}),
]
SETTINGS_ON_CPU = [('kd', 'highest', False, {}), ('base', 'highest', False, {})]


def steps(device: str, record: Callable[..., None]) -> None:
    """Time the steps of every setting in turns."""
    for name, precision, amp, options in SETTINGS if device == 'cuda' else SETTINGS_ON_CPU:
        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.allow_tf32 = precision != 'highest'
        torch.backends.cudnn.benchmark = True
        path = f'{SEGFORMER}.kd.py' if name.startswith('kd') else f'{SEGFORMER}.py'
        runs = _candidates(load_config(path, options), amp, device)
        kind = 'bf16' if amp else {'high': 'TF32', 'highest': 'float32'}[precision]
        memory = {run: peak_memory(step, device) for run, step in runs.items()}
        seconds = interleaved(runs, ROUNDS, times=CALLS[device])
        for run, step in runs.items():
            # Turn by turn, so that slow moments cancel.
            ratios = [s / o for s, o in zip(seconds['stock'], seconds[run], strict=True)]
            record(
                setting=f'{name}, {kind}',
                run=run,
                ms=1e3 * statistics.median(seconds[run]),
                least=1e3 * min(seconds[run]),
                most=1e3 * max(seconds[run]),
                times_stock=statistics.median(ratios),
                activations_MiB=memory[run],
                **(_profiled(step) if device == 'cuda' else {}),
            )
        del runs, step
        gc.collect()
        torch.cuda.empty_cache()


def _candidates(cfg: Config, amp: bool, device: str) -> dict[str, Callable[[], object]]:
    torch.manual_seed(0)
    pair = build_pair(cfg, device)
    batch = random_batch(BATCH[device], (SIDE, SIDE), pair['stock'].num_classes)
    runs = dict(stock=train_step(pair['stock'], cfg, batch, amp, stock=True))
    if device == 'cpu':
        return runs | dict(eager=train_step(pair['mmseg_kd'], cfg, batch, amp))
    packed = pair['mmseg_kd'].data_preprocessor.prepare(batch)
    runs['eager'] = train_step(pair['mmseg_kd'], cfg, packed, amp)
    if amp:
        enable_amp(cfg)
    recorded = build_own(cfg, device).train()
    wrapper = build_optim_wrapper(recorded, cfg.optim_wrapper)
    step = GraphedStep(recorded, print)
    return runs | dict(graph=lambda: step(packed, wrapper))


def _profiled(run: Callable[[], object], times: int = 10) -> dict[str, float]:
    """Measure kernels per step and the share of time in which the GPU runs one."""
    with profile(activities=[ProfilerActivity.CUDA]) as recorded:
        start = time.perf_counter()
        for _ in range(times):
            run()
        torch.cuda.synchronize()
        passed = time.perf_counter() - start
    events = recorded.key_averages()
    print(events.table(sort_by='self_device_time_total', row_limit=40))
    kernels = [x for x in events if x.device_type == torch.autograd.DeviceType.CUDA]
    busy = sum(kernel.self_device_time_total for kernel in kernels) / 1e6
    return dict(busy=busy / passed, kernels=sum(kernel.count for kernel in kernels) / times)
