"""Time a training step of stock mmseg, of this project, and recorded as a graph."""

import copy
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
from measuring.timing import MIB, ratio, seconds_of
from mmseg_kd.config import enable_amp, load_config
from mmseg_kd.engine.graphed_step import GraphedStep

SEGFORMER = 'local_configs/segformer/B0/segformer.b0.512x512.camvid'
BATCH, SIDE = 4, 512
ROUNDS, STEPS = 4, 8
# Config, float32_matmul_precision, --amp, and other options of the config.
SETTINGS: list[tuple[str, str, bool, dict[str, Any]]] = [
    ('kd', 'high', True, {}),
    ('kd', 'high', False, {}),
    ('base', 'high', True, {}),
    ('base', 'high', False, {}),
    ('kd, teacher bfloat16', 'high', False, {'model.teacher.dtype': 'bfloat16'}),
    ('kd', 'highest', False, {}),
]


def steps(device: str, record: Callable[..., None]) -> None:
    """Time the steps of every setting in turns."""
    for name, precision, amp, options in SETTINGS:
        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.allow_tf32 = precision != 'highest'
        torch.backends.cudnn.benchmark = True
        path = f'{SEGFORMER}.kd.py' if name.startswith('kd') else f'{SEGFORMER}.py'
        runs = _candidates(load_config(path, options), amp, device)
        kind = 'bf16' if amp else {'high': 'TF32', 'highest': 'float32'}[precision]
        _time_setting(f'{name}, {kind}', runs, record)
        del runs
        gc.collect()
        torch.cuda.empty_cache()


def _time_setting(
    name: str, runs: dict[str, Callable[[], object]], record: Callable[..., None]
) -> None:
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
            activations_MiB=memory[run_name],
            **_profiled(run),
        )


def _candidates(cfg: Config, amp: bool, device: str) -> dict[str, Callable[[], object]]:
    torch.manual_seed(0)
    pair = build_pair(cfg, device)
    batch = random_batch(BATCH, (SIDE, SIDE), pair['stock'].num_classes)
    stock = train_step(pair['stock'], cfg, copy.deepcopy(batch), amp, stock=True)
    packed = pair['mmseg_kd'].data_preprocessor.prepare(batch)
    eager = train_step(pair['mmseg_kd'], cfg, packed, amp)
    if amp:
        enable_amp(cfg)
    recorded = build_own(cfg, device).train()
    wrapper = build_optim_wrapper(recorded, cfg.optim_wrapper)
    step = GraphedStep(recorded, print)
    return dict(stock=stock, eager=eager, graph=lambda: step(packed, wrapper))


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
