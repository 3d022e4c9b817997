"""Whether a machine and a config are ready to train, fact by fact."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from tempfile import TemporaryDirectory

import torch
from mmengine.config import Config

from mmseg_kd.checkpoints.initialization import init_weights
from mmseg_kd.config.errors import config_errors
from mmseg_kd.config.loading import load_config
from mmseg_kd.engine.devices import unused_card
from mmseg_kd.engine.runner import build_runner
from mmseg_kd.engine.starting import prepare_training
from mmseg_kd.errors import UserError, one_line
from mmseg_kd.installation import FORKS
from mmseg_kd.paths import check_folder


@dataclass(frozen=True)
class Fact:
    """One line of the table: what was looked at, whether it is good, and the finding."""

    name: str
    good: bool
    finding: str


def check_environment(config: str | None = None, cfg_options: dict | None = None) -> list[Fact]:
    """Look at torch and CUDA and, with a config, at what it needs.

    Args:
        config: A config file; its training is started up to its first iteration, in a folder that
            is removed.
        cfg_options: Overrides by dotted key.
    """
    looks = {'torch': _torch, 'CUDA': _cuda}
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


def _start(cfg: Config) -> str:
    """Build data, model and teachers, and load the weights."""
    check_folder(cfg.work_dir, 'work_dir')
    # On Windows a log that is open stays.
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        cfg.work_dir = folder
        runner = build_runner(cfg)
        prepare_training(runner)
        init_weights(runner.bare_model)
        runner.load_or_resume()
    return 'a training can start'
