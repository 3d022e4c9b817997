"""Names, versions and highest rates of the device."""

import os
import subprocess
from collections.abc import Iterator
from typing import Any

import torch

from measuring.command import machine
from measuring.timing import seconds_of

SIDE, COPIED = 8192, 2**29
TIMES = 9
PRODUCTS = (('highest', torch.float32), ('high', torch.float32), ('high', torch.bfloat16))


def describe(device: str) -> Iterator[dict[str, Any]]:
    """Yield names, versions and the rates of large products and copies."""
    for key, value in machine(device).items():
        yield dict(what=key, value=value)
    yield dict(what='cores', value=os.cpu_count())
    if device == 'cpu':
        return
    query = ['nvidia-smi', '--query-gpu=driver_version,memory.total', '--format=csv,noheader']
    answer = subprocess.run(query, capture_output=True, text=True).stdout
    yield dict(what='driver, memory', value=answer.strip())
    yield dict(what='cuDNN', value=torch.backends.cudnn.version())
    for precision, dtype in PRODUCTS:
        torch.set_float32_matmul_precision(precision)
        a = torch.randn(SIDE, SIDE, device=device, dtype=dtype)
        rate = 2 * SIDE**3 / seconds_of(lambda a=a: a @ a, TIMES)
        yield dict(what=f'TFLOP/s {dtype}, {precision}', value=rate / 1e12)
    source = torch.ones(COPIED, device=device)
    target = torch.ones_like(source)
    rate = 2 * source.nbytes / seconds_of(lambda: target.copy_(source), TIMES)
    yield dict(what='TB/s', value=rate / 1e12)
