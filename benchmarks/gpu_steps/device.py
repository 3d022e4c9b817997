"""Names, versions and highest rates of the device."""

from __future__ import annotations

import os
import subprocess

import torch

from gpu_steps.step import Record
from measuring.command import machine
from measuring.lower_bound import rates_of


def describe(device: str, record: Record) -> None:
    """Record names, versions and the rates of products and copies."""
    for key, value in machine(device).items():
        record(what=key, value=value)
    record(what='cores', value=os.cpu_count())
    if device == 'cpu':
        return
    query = ['nvidia-smi', '--query-gpu=driver_version,memory.total', '--format=csv,noheader']
    record(
        what='driver, memory', value=subprocess.run(query, capture_output=True, text=True).stdout
    )
    record(what='cuDNN', value=torch.backends.cudnn.version())
    for precision in ('highest', 'high'):
        torch.set_float32_matmul_precision(precision)
        rates = rates_of(device, torch.float32)
        record(what=f'TFLOP/s float32 {precision}', value=rates.flops / 1e12)
    rates = rates_of(device, torch.bfloat16)
    record(what='TFLOP/s bfloat16', value=rates.flops / 1e12)
    record(what='TB/s', value=rates.bytes / 1e12)
