"""Which device it is, and how fast it is at best."""

from __future__ import annotations

import os
import subprocess
import time

import torch

from gpu_steps.step import Record
from mmseg_kd.benchmark.about import about
from mmseg_kd.benchmark.floor import rates_of

LAUNCHES = 2000


def describe(device: str, record: Record) -> None:
    """Names, versions, cost of a launch, rates of products and copies."""
    for key, value in about(device, 1).items():
        record(what=key, value=value)
    record(what='cores', value=os.cpu_count())
    if device == 'cpu':
        return
    query = ['nvidia-smi', '--query-gpu=driver_version,memory.total', '--format=csv,noheader']
    record(
        what='driver, memory', value=subprocess.run(query, capture_output=True, text=True).stdout
    )
    record(what='cuDNN', value=torch.backends.cudnn.version())
    host, total = _launches()
    record(what='launch, host us', value=host)
    record(what='launch, with the kernel, us', value=total)
    record(what='launch in a graph, us', value=_graph_launch())
    for precision in ('highest', 'high'):
        torch.set_float32_matmul_precision(precision)
        rates = rates_of(device, torch.float32)
        record(what=f'TFLOP/s float32 {precision}', value=rates.flops / 1e12)
    rates = rates_of(device, torch.bfloat16)
    record(what='TFLOP/s bfloat16', value=rates.flops / 1e12)
    record(what='TB/s', value=rates.bytes / 1e12)


def _launches() -> tuple[float, float]:
    x = torch.zeros(8, device='cuda')
    for _ in range(100):
        x.add_(1)
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(LAUNCHES):
        x.add_(1)
    host = time.perf_counter() - start
    torch.cuda.synchronize()
    return 1e6 * host / LAUNCHES, 1e6 * (time.perf_counter() - start) / LAUNCHES


def _graph_launch() -> float:
    x = torch.zeros(8, device='cuda')
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(LAUNCHES):
            x.add_(1)
    graph.replay()
    torch.cuda.synchronize()
    start = time.perf_counter()
    graph.replay()
    torch.cuda.synchronize()
    return 1e6 * (time.perf_counter() - start) / LAUNCHES
