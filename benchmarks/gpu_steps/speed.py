"""How long a training step takes, what it does, and how the real loop keeps up with it."""

from __future__ import annotations

import copy
import gc
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from PIL import Image
from torch import nn
from torch.profiler import ProfilerActivity, profile

from gpu_steps.step import (
    SEGFORMER,
    Record,
    batch_of,
    build,
    config,
    kd_config,
    random_teacher,
    scratch,
)
from mmseg_kd.benchmark.about import be_quiet
from mmseg_kd.benchmark.floor import busy_share, rates_of, work_of
from mmseg_kd.benchmark.steps import build_pair, random_batch, train_step
from mmseg_kd.config import choose_start, enable_amp
from mmseg_kd.engine import build_runner
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
    torch.manual_seed(0)
    pair = build_pair(cfg, device)
    batch = random_batch(BATCH, (SIDE, SIDE), pair['stock'].num_classes)
    runs: dict[str, Callable[[], object]] = {}
    memory: dict[str, float] = {}
    runs['stock'] = train_step(pair['stock'], cfg, copy.deepcopy(batch), dtype, stock=True)
    packed = pair['mmseg_kd'].data_preprocessor.prepare(batch)
    runs['eager'] = train_step(pair['mmseg_kd'], cfg, packed, dtype, stock=False)
    graphed, wrapper = build(cfg, device, amp=dtype == 'amp')
    step = GraphedStep(graphed, lambda line: record(setting=name, error=line))
    runs['graph'] = lambda: step(packed, wrapper)
    for run_name, run in runs.items():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        for _ in range(6):
            run()
        torch.cuda.synchronize()
        memory[run_name] = (torch.cuda.max_memory_allocated() - before) / 2**20
    total: dict[str, list[float]] = {run: [] for run in runs}
    host: dict[str, list[float]] = {run: [] for run in runs}
    for _ in range(ROUNDS):
        for run_name, run in runs.items():
            torch.cuda.synchronize()
            start = time.perf_counter()
            for _ in range(STEPS):
                run()
            launched = time.perf_counter()
            torch.cuda.synchronize()
            host[run_name].append(1e3 * (launched - start) / STEPS)
            total[run_name].append(1e3 * (time.perf_counter() - start) / STEPS)
    for run_name, run in runs.items():
        kernels, top = _kernels(run)
        record(
            setting=name,
            run=run_name,
            ms=statistics.median(total[run_name]),
            least=min(total[run_name]),
            most=max(total[run_name]),
            times_stock=statistics.median(
                a / b for a, b in zip(total['stock'], total[run_name], strict=True)
            ),
            host_ms=statistics.median(host[run_name]),
            busy=busy_share(run, 10),
            kernels=kernels,
            activations_MiB=memory[run_name],
            top=top,
        )
    if 'teacher' not in name:
        work = work_of(runs['eager'])
        products = torch.bfloat16 if dtype == 'amp' else torch.float32
        rates = rates_of(device, products)
        record(
            setting=name,
            run='lower bound',
            ms=1e3 * (work.flops / rates.flops + work.bytes / rates.bytes),
            GFLOP=work.flops / 1e9,
            GB=work.bytes / 1e9,
        )


def _kernels(run: Callable[[], object], times: int = 3) -> tuple[float, str]:
    """Kernels a step, and those that take longest, in microseconds a step."""
    with profile(activities=[ProfilerActivity.CUDA]) as recorded:
        for _ in range(times):
            run()
        torch.cuda.synchronize()
    spent: Counter[str] = Counter()
    count = 0
    for event in recorded.events():
        if event.device_type == torch.autograd.DeviceType.CUDA:
            spent[
                event.name.replace('void ', '')
                .replace('at::native::', '')
                .replace('(anonymous namespace)::', '')[:90]
            ] += event.device_time
            count += 1
    top = '; '.join(f'{name} {value / times:.0f}' for name, value in spent.most_common(40))
    return count / times, top.replace('|', '/').replace('\n', ' ')


def pieces(device: str, record: Record) -> None:
    """Time parts of the step by themselves, forward and backward, in microseconds of kernels."""
    logits = torch.randn(BATCH, 12, SIDE // 4, SIDE // 4, device=device, requires_grad=True)
    target = torch.randint(0, 12, (BATCH, SIDE, SIDE), device=device)
    record(
        what='cross-entropy',
        us=_graph_time(lambda: plain_cross_entropy(logits, target, 255)[0].sum().backward()),
    )
    for rows, width in ((2**16, 32), (2**16, 64), (2**14, 64), (2**14, 128)):
        x = torch.randn(rows, width, device=device, requires_grad=True)
        norm = LayerNorm(width).to(device)
        for name, forward in (
            ('ours', norm),
            ('torch', lambda x, n=norm: nn.LayerNorm.forward(n, x)),
        ):
            record(
                what=f'LayerNorm {rows}x{width}, {name}',
                us=_graph_time(lambda f=forward, x=x: f(x).sum().backward()),
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
            us=_graph_time(lambda a=student, b=teacher, f=loss: f(a, b, target).backward()),
        )


def _graph_time(run: Callable[[], object]) -> float:
    """Microseconds of the kernels of a call, from replays of a graph of it."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        run()
    graph.replay()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(50):
        graph.replay()
    torch.cuda.synchronize()
    return 1e6 * (time.perf_counter() - start) / 50


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
                used[f'after {i}, MiB'] = torch.cuda.memory_allocated() / 2**20
        record(run=name, **used, reserved_MiB=torch.cuda.memory_reserved() / 2**20)
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
        for _ in range(3):
            model.train_step(data, wrapper)
        torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        row = dict(precision='bf16' if amp else 'TF32', seconds_to_compile=seconds)
        row['eager ms'] = _ms(lambda m=model, w=wrapper, d=data: m.train_step(d, w))
        record(**row)
        graphed = GraphedStep(model, lambda line: record(error=line))
        for _ in range(5):
            graphed(data, wrapper)
        record(**row, **{'graph ms': _ms(lambda g=graphed, w=wrapper, d=data: g(d, w))})


def _ms(run: Callable[[], object], times: int = 30) -> float:
    for _ in range(3):
        run()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(times):
        run()
    torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - start) / times


def real_loop(device: str, record: Record) -> None:
    """Train by the runner on images of CamVid's size, with workers, hooks and log lines."""
    be_quiet()
    gpu = device == 'cuda'
    iterations = 450 if gpu else 6
    # Recorded, in bfloat16, compiled, workers.
    settings = [(False, False, False, 4)]
    if gpu:
        settings = [
            (True, True, False, 4),
            (True, True, True, 4),
            (True, False, False, 4),
            (False, True, False, 4),
            (True, True, False, 8),
            (False, False, False, 4),
        ]
    with scratch() as folder:
        camvid = _images(Path(folder) / 'CamVid', 64 if gpu else 4)
        teacher = random_teacher(
            'local_configs/segformer/B2/segformer.b2.512x512.camvid.py', folder
        )
        for i, (graph, amp, compiled, workers) in enumerate(settings):
            cfg = kd_config(model__teacher__checkpoint=teacher)
            for split in ('train', 'val'):
                cfg[f'{split}_dataloader'].dataset.data_root = camvid
            if not gpu:
                cfg.train_dataloader.batch_size = 2
                _shrink(cfg)
            cfg.train_dataloader.num_workers = workers if gpu else 0
            cfg.train_dataloader.persistent_workers = gpu
            cfg.train_cfg.max_iters = iterations
            cfg.train_cfg.val_interval = 10**6
            for key in ('val_dataloader', 'val_cfg', 'val_evaluator'):
                cfg.pop(key)
            for hook in ('prediction_grid', 'teacher_record', 'confusion_record'):
                cfg.default_hooks[hook] = None
            cfg.default_hooks.checkpoint = dict(
                type='CheckpointHook', by_epoch=False, interval=10**6
            )
            cfg.cuda_graph, cfg.compile, cfg.work_dir = graph, compiled, f'{folder}/run{i}'
            if amp:
                enable_amp(cfg)
            choose_start(cfg, None)
            start = time.perf_counter()
            build_runner(cfg).train()
            seconds = time.perf_counter() - start
            lines = [line for line in _scalars(cfg.work_dir) if 'time' in line]
            settled = lines[len(lines) // 2 :]
            record(
                run=('graph' if graph else 'eager') + (', compiled' if compiled else ''),
                precision='bf16' if amp else 'TF32',
                workers=workers,
                iterations=iterations,
                ms=1e3 * statistics.mean(line['time'] for line in settled),
                data_ms=1e3 * statistics.mean(line['data_time'] for line in settled),
                seconds_in_all=seconds,
                loss_first=lines[0]['loss'],
                loss_last=lines[-1]['loss'],
            )


def _shrink(cfg: Config) -> None:
    cfg.model.data_preprocessor.size = (64, 64)
    cfg.train_dataloader.dataset.pipeline[2].crop_size = (64, 64)


def _scalars(work_dir: str) -> list[dict[str, Any]]:
    (file,) = Path(work_dir).glob('*/vis_data/scalars.json')
    return [json.loads(line) for line in file.read_text(encoding='utf-8').splitlines()]


def _images(root: Path, count: int) -> str:
    """Scenes of CamVid's size in its layout: a few smooth shapes, so that they pack like photos."""
    rng = np.random.default_rng(0)
    for split in ('train', 'val'):
        for part in (split, f'{split}annot'):
            (root / part).mkdir(parents=True)
        for i in range(count):
            coarse = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
            image = Image.fromarray(coarse).resize((480, 360), Image.Resampling.BICUBIC)
            labels = rng.integers(0, 12, (9, 12), dtype=np.uint8)
            mask = Image.fromarray(labels).resize((480, 360), Image.Resampling.NEAREST)
            image.save(root / split / f'{i:03}.png')
            mask.save(root / f'{split}annot' / f'{i:03}.png')
    return str(root)
