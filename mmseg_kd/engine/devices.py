"""Explain problems of the devices: a card that torch cannot use, memory that ran out."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import psutil
import torch
from mmengine.runner import Runner

from mmseg_kd.compat import DEAD_WORKER
from mmseg_kd.errors import UserError

GIB = 2**30
# In the messages of torch's allocators, of cuBLAS and of cuDNN.
NO_MEMORY = ('out of memory', "can't allocate memory", 'not enough memory', 'ALLOC_FAILED')


def unused_card() -> str | None:
    """Return what to do about an NVIDIA card that torch cannot use, or None without such a card."""
    hidden = os.environ.get('CUDA_VISIBLE_DEVICES') in ('', '-1')
    if hidden or torch.cuda.is_available() or not (card := _nvidia_card()):
        return None
    if torch.version.cuda is None:
        return (
            f'this machine has an NVIDIA card ({card}), but torch {torch.__version__} is built '
            'without CUDA: everything runs on the CPU, many times slower. Run '
            '`pip uninstall -y torch torchvision`, then the command that pytorch.org/get-started '
            'gives for CUDA, such as `pip install torch torchvision --index-url '
            'https://download.pytorch.org/whl/cu126`'
        )
    return (
        f'this machine has an NVIDIA card ({card}), but torch {torch.__version__} cannot use it: '
        'everything runs on the CPU, many times slower. Update the NVIDIA driver to one that '
        f'supports CUDA {torch.version.cuda}'
    )


def _nvidia_card() -> str | None:
    program = shutil.which('nvidia-smi')
    if program is None:
        return None
    command = [program, '--query-gpu=name', '--format=csv,noheader']
    try:
        answer = subprocess.run(command, capture_output=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return next(iter(answer.stdout.decode(errors='replace').splitlines()), None)


def memory_errors(method: Callable) -> Callable:
    """Wrap a runner's method: memory that runs out becomes one line.

    Raises:
        UserError: Names the iteration, batch, crop, peak of memory, and what to lower.
    """

    @functools.wraps(method)
    def wrapped(self: Runner, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        except (RuntimeError, MemoryError) as error:
            if message := _memory_message(self, error):
                raise UserError(message) from error
            raise

    return wrapped


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocator of torch, cuBLAS, cuDNN or Python found no more memory."""
    memory = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return memory or any(part in str(error) for part in NO_MEMORY)


def _memory_message(runner: Runner, error: Exception) -> str | None:
    text = str(error)
    if any(part in text for part in DEAD_WORKER):
        return (
            'a worker of a data loader was ended by the system, which happens when memory runs '
            f'out ({_memory_of_machine()}); lower num_workers of train_dataloader and '
            'val_dataloader, 0 needs the least'
        )
    if not is_out_of_memory(error):
        return None
    model = runner.bare_model
    training = runner.trains and model.training
    split = 'train' if training else ('val' if runner.trains else 'test')
    loader = runner.cfg.get(f'{split}_dataloader') or {}
    facts = [f'batch {loader.get("batch_size")}', *_size(runner, split), _peak()]
    if training:
        half = max(1, (loader.get('batch_size') or 2) // 2)
        advice = (
            f'write train_dataloader.batch_size={half} (with '
            'optim_wrapper.accumulative_counts=2 the gradient is that of both halves), add --amp, '
            'or lower the crop'
        )
        where = f'training, iteration {runner.iter + 1}'
    else:
        where = 'evaluation'
        advice = (
            f'write {split}_dataloader.batch_size=1, or model.test_cfg.mode=slide with a crop_size '
            'and a stride'
        )
    return f'out of memory in {where}: {", ".join(facts)}; {advice}'


def _size(runner: Runner, split: str) -> list[str]:
    size = (runner.cfg.model.get('data_preprocessor') or {}).get('size')
    if split != 'train':
        test = runner.cfg.model.get('test_cfg') or {}
        size = test.get('crop_size') if test.get('mode') == 'slide' else None
    return [f'crop {"x".join(map(str, size))}' if size else 'whole images']


def _peak() -> str:
    if not torch.cuda.is_available():
        return _memory_of_machine()
    total = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
    peak = torch.cuda.max_memory_allocated()
    return f'peak {peak / GIB:.1f} of {total / GIB:.1f} GiB ({torch.cuda.get_device_name()})'


def _memory_of_machine() -> str:
    memory, own = psutil.virtual_memory(), psutil.Process().memory_info()
    # Windows knows the peak; elsewhere what is held now has to do.
    held = getattr(own, 'peak_wset', own.rss)
    return f'this process holds {held / GIB:.1f} of {memory.total / GIB:.1f} GiB of memory'
