"""Whether a machine and a config are ready to train, fact by fact."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import torch
from mmengine.config import Config

from mmseg_kd.checkpoints.initialization import init_weights
from mmseg_kd.config.errors import config_errors
from mmseg_kd.config.loading import load_config
from mmseg_kd.engine.devices import GIB, unused_card
from mmseg_kd.engine.runner import build_runner
from mmseg_kd.engine.starting import prepare_training
from mmseg_kd.errors import UserError, one_line
from mmseg_kd.installation import FORKS
from mmseg_kd.paths import check_folder

# Below these, a training of the shipped configs is likely to fail.
LEAST_FREE_GPU, LEAST_FREE_MEMORY = 3 * GIB, 4 * GIB
# Of AdamW: the weights and two moments.
TENSORS_PER_WEIGHT = 3
LETTERS = '가\u00e9\u2212'


@dataclass(frozen=True)
class Fact:
    """One line of the table: what was looked at, whether it is good, and the finding."""

    name: str
    good: bool
    finding: str


def check_environment(config: str | None = None, cfg_options: dict | None = None) -> list[Fact]:
    """Look at torch, CUDA, memory and console and, with a config, at what it needs.

    Args:
        config: A config file; its training is started up to its first iteration, in a folder that
            is removed.
        cfg_options: Overrides by dotted key.
    """
    looks = {'torch': _torch, 'CUDA': _cuda, 'memory': _memory, 'console': _console}
    if config is not None:
        looks['config'] = lambda: _start(load_config(config, cfg_options))
    return [_fact(name, look) for name, look in looks.items()]


def _fact(name: str, look: Callable[[], str]) -> Fact:
    try:
        with config_errors():
            return Fact(name, True, look())
    except (UserError, OSError, RuntimeError) as error:
        return Fact(name, False, one_line(error))


def _torch() -> str:
    versions = ', '.join(f'{name} {version(name)}' for name in ('torchvision', *FORKS))
    return f'Python {platform.python_version()}, torch {torch.__version__}, {versions}'


def _cuda() -> str:
    if problem := unused_card():
        raise UserError(problem)
    if not torch.cuda.is_available():
        return 'no NVIDIA card: training runs on the CPU'
    return f'{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}'


def _memory() -> str:
    memory, advice = psutil.virtual_memory(), ''
    finding = f'{memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB are free'
    if memory.available < LEAST_FREE_MEMORY:
        advice = '; close other programs, or write train_dataloader.num_workers=0'
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        finding += f', on the GPU {free / GIB:.1f} of {total / GIB:.1f} GiB'
        if free < LEAST_FREE_GPU:
            advice += '; see nvidia-smi for what uses the GPU'
    if advice:
        raise UserError(finding + advice)
    return finding


def _console() -> str:
    encoding = sys.stdout.encoding or 'ascii'
    try:
        LETTERS.encode(encoding)
    except UnicodeEncodeError as error:
        raise UserError(
            f'{encoding} cannot show {error.object[error.start]!a}, which is printed as an escape; '
            'set the environment variable PYTHONUTF8=1'
        ) from None
    return encoding


def _start(cfg: Config) -> str:
    """Build data, model and teachers, load the weights, and look for room for the checkpoints."""
    work_dir = cfg.work_dir
    check_folder(work_dir, 'work_dir')
    # On Windows a log that is open stays.
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        cfg.work_dir = folder
        runner = build_runner(cfg)
        prepare_training(runner)
        init_weights(runner.bare_model)
        runner.load_or_resume()
    folder = Path(work_dir).resolve()
    free = shutil.disk_usage(next(p for p in (folder, *folder.parents) if p.exists())).free
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    interval, kept = hook.get('interval', -1), hook.get('max_keep_ckpts', -1)
    files = runner.max_iters // interval if interval > 0 else 1
    files = min(files, kept) if kept > 0 else files
    size = 4 * sum(p.numel() for p in runner.bare_model.parameters())
    # One more is there while it replaces the oldest, and one holds the best weights alone.
    needed = size * (TENSORS_PER_WEIGHT * (files + 1) + 1)
    finding = f'{free / GIB:.1f} GiB are free for {work_dir}, the checkpoints of a run take '
    finding += f'{needed / GIB:.1f} GiB'
    if free < needed:
        raise UserError(
            f'{finding}; name a --work-dir on another disk, or write '
            'default_hooks.checkpoint.max_keep_ckpts=1'
        )
    return f'a training can start; {finding}'
