"""Time a training step and its parts, and count what it does."""

from __future__ import annotations

import copy
import gc
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from mmengine.config import Config
from torch import nn
from torch.profiler import ProfilerActivity, profile

from gpu_steps.step import (
    SEGFORMER,
    Record,
    batch_of,
    build,
    config,
    graph_seconds,
    host_and_total,
    kd_config,
)
from measuring.lower_bound import busy_share, rates_of, work_of
from measuring.steps import build_pair, compute_dtype, random_batch, train_step
from measuring.timing import MIB, ratio, seconds_of
from mmseg_kd.engine.compilation import compile_blocks
from mmseg_kd.engine.graphed_step import GraphedStep
from mmseg_kd.models.short_row_norm import LayerNorm
from mmseg_kd.models.upsampled_cross_entropy import plain_cross_entropy

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
    times: dict[str, list[tuple[float, float]]] = {run: [] for run in runs}
    for _ in range(ROUNDS):
        for run_name, run in runs.items():
            times[run_name].append(host_and_total(run, STEPS))
    host, total = (
        {run: [1e3 * both[i] for both in values] for run, values in times.items()} for i in (0, 1)
    )
    for run_name, run in runs.items():
        kernels, top = _kernels(run)
        record(
            setting=name,
            run=run_name,
            ms=statistics.median(total[run_name]),
            least=min(total[run_name]),
            most=max(total[run_name]),
            times_stock=ratio(total['stock'], total[run_name]).median,
            host_ms=statistics.median(host[run_name]),
            busy=busy_share(run, 10),
            kernels=kernels,
            activations_MiB=memory[run_name],
            top=top,
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


def _kernels(run: Callable[[], object], times: int = 3) -> tuple[float, str]:
    """Count kernels per step; name those that take longest, in microseconds per step."""
    with profile(activities=[ProfilerActivity.CUDA]) as recorded:
        for _ in range(times):
            run()
        torch.cuda.synchronize()
    spent: Counter[str] = Counter()
    count = 0
    for event in recorded.events():
        if event.device_type == torch.autograd.DeviceType.CUDA:
            name = re.sub(r'void |at::native::|\(anonymous namespace\)::', '', event.name)
            spent[name[:90]] += event.device_time
            count += 1
    top = '; '.join(f'{name} {value / times:.0f}' for name, value in spent.most_common(40))
    return count / times, top.replace('|', '/').replace('\n', ' ')


def pieces(device: str, record: Record) -> None:
    """Time parts of the step, forward and backward, in microseconds of their kernels."""
    logits = torch.randn(BATCH, 12, SIDE // 4, SIDE // 4, device=device, requires_grad=True)
    target = torch.randint(0, 12, (BATCH, SIDE, SIDE), device=device)
    seconds = graph_seconds(lambda: plain_cross_entropy(logits, target, 255)[0].sum().backward())
    record(what='cross-entropy', us=1e6 * seconds)
    for rows, width in ((2**16, 32), (2**16, 64), (2**14, 64), (2**14, 128)):
        x = torch.randn(rows, width, device=device, requires_grad=True)
        norm = LayerNorm(width).to(device)
        for name, forward in (
            ('ours', norm),
            ('torch', lambda x, n=norm: nn.LayerNorm.forward(n, x)),
        ):
            record(
                what=f'LayerNorm {rows}x{width}, {name}',
                us=1e6 * graph_seconds(lambda f=forward, x=x: f(x).sum().backward()),
            )
    shapes = {
        'logits': ((12, 128), (12, 128)),
        'stage4': ((256, 16), (512, 16)),
        **{
            f'stage{i}.pre_norm': ((c, 256 >> i), (d, 256 >> i))
            for i, c, d in ((1, 32, 64), (2, 64, 128), (3, 160, 320), (4, 256, 512))
        },
    }
    model, _ = build(kd_config(), device)
    for name, loss in model.kd_losses.items():
        sides = [[shapes[tap][i] for tap in loss.stages] for i in (0, 1)]
        student, teacher = (
            [torch.randn(BATCH, c, s, s, device=device) for c, s in side] for side in sides
        )
        for x in student:
            x.requires_grad_()
        record(
            what=name,
            us=1e6 * graph_seconds(lambda a=student, b=teacher, f=loss: f(a, b, target).backward()),
        )


def memory_stays(device: str, record: Record) -> None:
    """Memory in use after 50, 150 and 250 steps, eager and recorded."""
    for name in ('eager', 'graph'):
        model, wrapper = build(kd_config(), device)
        data = batch_of(model, BATCH, SIDE)
        graphed = GraphedStep(model, print)
        step = graphed if name == 'graph' else model.train_step
        used = {}
        for i in range(1, 251):
            step(data, wrapper)
            if i in (50, 150, 250):
                torch.cuda.synchronize()
                used[f'after {i}, MiB'] = torch.cuda.memory_allocated() / MIB
        record(run=name, **used, reserved_MiB=torch.cuda.memory_reserved() / MIB)
        del model, wrapper, graphed, step
        gc.collect()
        torch.cuda.empty_cache()


def compiled_blocks(device: str, record: Record) -> None:
    """Time the step with its blocks compiled, eager and recorded."""
    torch.set_float32_matmul_precision('high')
    for amp in (True, False):
        model, wrapper = build(kd_config(), device, amp=amp)
        data = batch_of(model, BATCH, SIDE)
        start = time.perf_counter()
        for part in (model, model.teacher.segmentor):
            compile_blocks(part, {})
        step = partial(model.train_step, data, wrapper)
        for _ in range(3):
            step()
        torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        row = dict(precision='bf16' if amp else 'TF32', seconds_to_compile=seconds)
        row['eager ms'] = 1e3 * _settled_seconds(step)
        record(**row)
        graphed = GraphedStep(model, lambda line: record(error=line))
        step = partial(graphed, data, wrapper)
        for _ in range(5):
            step()
        record(**row, **{'graph ms': 1e3 * _settled_seconds(step)})


def _settled_seconds(run: Callable[[], object]) -> float:
    for _ in range(3):
        run()
    return seconds_of(run, 30)
