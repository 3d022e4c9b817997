"""Messages about devices: a card that torch cannot use, memory that ran out."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import torch
from mmengine.runner import Runner

from mmseg_kd.compat import DEAD_WORKER
from mmseg_kd.errors import UserError
from mmseg_kd.models.failures import is_out_of_memory

GIB = 2**30


def unused_card() -> str | None:
    """Return what to do about an NVIDIA card that torch cannot use; None if there is none.

    The machine has a card if it has `nvidia-smi`, which comes with the driver.
    """
    hidden = os.environ.get('CUDA_VISIBLE_DEVICES') in ('', '-1')
    if hidden or torch.cuda.is_available() or shutil.which('nvidia-smi') is None:
        return None
    problem = 'cannot use it'
    advice = f'Update the NVIDIA driver to one that supports CUDA {torch.version.cuda}'
    if torch.version.cuda is None:
        problem = 'is built without CUDA'
        advice = 'Run `pip uninstall -y torch torchvision`, then the command that '
        advice += 'pytorch.org/get-started gives for CUDA'
    return (
        f'this machine has the driver of an NVIDIA card, but torch {torch.__version__} {problem}: '
        f'everything runs on the CPU, many times slower. {advice}'
    )


def now() -> float:
    """Return the time in seconds, after the GPU, if there is one, has finished its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


@contextmanager
def memory_errors(runner: Runner) -> Iterator[None]:
    """Report memory that runs out in this block in one line; for training or testing.

    Raises:
        UserError: The memory ran out. The message has the iteration, batch, crop and peak memory,
            and names the keys to lower.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if message := _memory_message(runner, error):
            raise UserError(message) from error
        raise


def _memory_message(runner: Runner, error: Exception) -> str | None:
    used, total = psutil.Process().memory_info().rss, psutil.virtual_memory().total
    held = f'this process holds {used / GIB:.1f} of {total / GIB:.1f} GiB of memory'
    if any(part in str(error) for part in DEAD_WORKER):
        return (
            'the system ended a worker of a data loader, as it does when memory runs out '
            f'({held}), or it could not send a batch; lower num_workers of the data loaders, and '
            'in a container raise the shared memory (docker run --shm-size=4g)'
        )
    if not is_out_of_memory(error):
        return None
    on_host = isinstance(error, MemoryError) or 'DefaultCPUAllocator' in str(error)
    if torch.cuda.is_available() and not on_host:
        peak, (_, total) = torch.cuda.max_memory_allocated(), torch.cuda.mem_get_info()
        held = f'peak {peak / GIB:.1f} of {total / GIB:.1f} GiB ({torch.cuda.get_device_name()})'
    if runner.trains and runner.bare_model.training:
        batch = runner.train_dataloader.batch_size
        where = f'training, iteration {runner.iter + 1}'
        size = (runner.cfg.model.get('data_preprocessor') or {}).get('size')
        advice = 'add --amp, or lower the crop'
        if batch != 1:
            half = f'train_dataloader.batch_size={(batch or 2) // 2}'
            both = 'with optim_wrapper.accumulative_counts=2 the gradient is that of both halves'
            advice = f'write {half} ({both}), {advice}'
    else:
        split = 'val' if runner.trains else 'test'
        batch = runner.loops[split].dataloader.batch_size
        where = 'evaluation'
        test = runner.cfg.model.get('test_cfg') or {}
        size = test.get('crop_size') if test.get('mode') == 'slide' else None
        one = f'{split}_dataloader.batch_size=1, or ' if batch != 1 else ''
        advice = f'write {one}model.test_cfg.mode=slide with a crop_size and a stride'
    crop = f'crop {"x".join(map(str, size))}' if size else 'whole images'
    return f'out of memory in {where}: batch {batch}, {crop}, {held}; {advice}'
