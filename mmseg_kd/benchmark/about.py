"""On what a measurement was made, and quiet while it is."""

from __future__ import annotations

import importlib.metadata
import platform
import uuid
from pathlib import Path

import torch
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

PACKAGES = ('torch', 'onedl-mmengine', 'onedl-mmcv', 'onedl-mmsegmentation', 'numpy')


def about(device: str, repeats: int) -> dict[str, str | int]:
    """Device, threads, versions and number of measurements, by name."""
    return {
        'device': torch.cuda.get_device_name() if device != 'cpu' else _processor(),
        'threads': torch.get_num_threads(),
        'Python': platform.python_version(),
        **{package: importlib.metadata.version(package) for package in PACKAGES},
        'n': repeats,
    }


def be_quiet() -> None:
    """Log to a logger of our own: building a model tells much that a table need not."""
    init_default_scope('mmseg_kd')
    MMLogger.get_instance(f'benchmark {uuid.uuid4()}', log_level='ERROR')


def _processor() -> str:
    info = Path('/proc/cpuinfo')
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith('model name'):
                return line.partition(': ')[2]
    return platform.processor() or platform.machine()
