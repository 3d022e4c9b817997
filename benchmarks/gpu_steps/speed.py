"""Time a training step of stock mmseg, of this project, and recorded as a graph."""

import copy
import gc
from collections.abc import Callable, Iterator
from typing import Any

import torch
from mmengine.config import Config
from torch.profiler import ProfilerActivity, profile

from measuring.steps import build_own, build_pair, random_batch, train_step
from measuring.timing import MIB, interleaved, ratio, seconds_of, spread_of
from mmseg_kd.config import load_config
from mmseg_kd.engine.optim import set_matmul_precision

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


def steps(device: str) -> Iterator[dict[str, Any]]:
    """Time the steps of every setting in turns."""
    for name, precision, amp, options in SETTINGS:
        set_matmul_precision(precision)
        torch.backends.cudnn.benchmark = True
        path = f'{SEGFORMER}.kd.py' if name.startswith('kd') else f'{SEGFORMER}.py'
        runs = _candidates(load_config(path, options), amp, device)
        kind = 'bf16' if amp else {'high': 'TF32', 'highest': 'float32'}[precision]
        for row in _time_setting(runs):
            yield dict(setting=f'{name}, {kind}') | row
        del runs
        gc.collect()
        torch.cuda.empty_cache()


def _time_setting(runs: dict[str, Callable[[], object]]) -> Iterator[dict[str, Any]]:
    memory: dict[str, float] = {}
    for run_name, run in runs.items():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        # A step is recorded after three iterations.
        seconds_of(run, 5)
        memory[run_name] = (torch.cuda.max_memory_allocated() - before) / MIB
    seconds = interleaved(runs, ROUNDS, warmup=0, calls=STEPS)
    for run_name, run in runs.items():
        ms = spread_of([1e3 * x for x in seconds[run_name]])
        yield dict(
            run=run_name,
            ms=ms.median,
            least=ms.least,
            most=ms.greatest,
            times_stock=ratio(seconds['stock'], seconds[run_name]).median,
            activations_MiB=memory[run_name],
            **_profiled(run),
        )


def _candidates(cfg: Config, amp: bool, device: str) -> dict[str, Callable[[], object]]:
    torch.manual_seed(0)
    pair = build_pair(cfg, device)
    batch = random_batch(BATCH, (SIDE, SIDE), pair['stock'].num_classes)
    stock = train_step(pair['stock'], cfg, copy.deepcopy(batch), amp, 'stock')
    packed = pair['mmseg_kd'].data_preprocessor.prepare(batch)
    eager = train_step(pair['mmseg_kd'], cfg, packed, amp)
    graph = train_step(build_own(cfg, device), cfg, packed, amp, 'graph')
    return dict(stock=stock, eager=eager, graph=graph)


def _profiled(run: Callable[[], object], times: int = 10) -> dict[str, float]:
    """Measure kernels per step and the share of time in which the GPU runs one."""
    with profile(activities=[ProfilerActivity.CUDA]) as recorded:
        seconds = seconds_of(run, times)
    events = recorded.key_averages()
    print(events.table(sort_by='self_device_time_total', row_limit=40))
    kernels = [x for x in events if x.device_type == torch.autograd.DeviceType.CUDA]
    busy = sum(kernel.self_device_time_total for kernel in kernels) / 1e6
    ran = times + 1
    return dict(busy=busy / ran / seconds, kernels=sum(x.count for x in kernels) / ran)
