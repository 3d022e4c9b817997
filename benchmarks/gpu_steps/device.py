"""Names, versions and highest rates of the device."""

import os
import subprocess
from collections.abc import Callable

import torch

from measuring.command import machine
from measuring.timing import seconds_of

SIDE, COPIED = 8192, 2**29
TIMES = 9


def describe(device: str, record: Callable[..., None]) -> None:
    """Record names, versions and the rates of large products and copies."""
    for key, value in machine(device).items():
        record(what=key, value=value)
    record(what='cores', value=os.cpu_count())
    if device == 'cpu':
        return
    query = ['nvidia-smi', '--query-gpu=driver_version,memory.total', '--format=csv,noheader']
    answer = subprocess.run(query, capture_output=True, text=True).stdout
    record(what='driver, memory', value=answer.strip())
    record(what='cuDNN', value=torch.backends.cudnn.version())
    for precision, dtype in (
        ('highest', torch.float32),
        ('high', torch.float32),
        ('high', torch.bfloat16),
    ):
        torch.set_float32_matmul_precision(precision)
        a = torch.randn(SIDE, SIDE, device=device, dtype=dtype)
        rate = 2 * SIDE**3 / _seconds(lambda a=a: a @ a)
        record(what=f'TFLOP/s {dtype}, {precision}', value=rate / 1e12)
    source = torch.ones(COPIED, device=device)
    target = torch.ones_like(source)
    record(what='TB/s', value=2 * source.nbytes / _seconds(lambda: target.copy_(source)) / 1e12)


def _seconds(run: Callable[[], object]) -> float:
    run()
    return seconds_of(run, TIMES)
