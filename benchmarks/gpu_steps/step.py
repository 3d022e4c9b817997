"""The type of a step, and what several steps share."""

from __future__ import annotations

import copy
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmseg.registry import MODELS

from measuring.command import be_quiet
from measuring.steps import build_own, random_batch
from mmseg_kd.config import enable_amp, load_config

Record = Callable[..., None]

SEGFORMER = 'local_configs/segformer/B0/segformer.b0.512x512.camvid'
TOY = 'local_configs/toy/segformer.b0.toy'
# The teacher of the toy student is a second B0 here, which is built quickly.
TOY_TEACHER = f'{TOY}.py'
# One of each distillation loss, for the toy student.
LOSSES: dict[str, dict[str, Any]] = {
    'kl': dict(type='KLDivergenceLoss'),
    'kl_std': dict(type='KLDivergenceLoss', standardize=True),
    'cwd': dict(type='ChannelWiseDivergence'),
    'dist': dict(type='DISTLoss'),
    'at': dict(type='AttentionTransferLoss'),
    'sp': dict(type='SimilarityPreservingLoss'),
    'sp_pixel': dict(type='SimilarityPreservingLoss', mode='pixel'),
    'pairwise': dict(type='PairwiseLoss'),
    'fitnet': dict(type='FitNetLoss', student_channels=256, teacher_channels=256),
}


@dataclass(frozen=True)
class Step:
    """A step of the check.

    Attributes:
        run: Called with the device and a function that records a row of results.
        seconds: Its time limit.
        needs_gpu: Whether it is skipped on a CPU.
        timed: Whether no other step may run at the same time.
    """

    run: Callable[[str, Record], None]
    seconds: float
    needs_gpu: bool = False
    timed: bool = False


def config(path: str, **options: Any) -> Config:
    """Load a config without pretrained weights; options by dotted key, with `__` for the dots."""
    cfg = load_config(path, {key.replace('__', '.'): value for key, value in options.items()})
    cfg.model.pretrained = None
    return cfg


def kd_config(**options: Any) -> Config:
    """Load the shipped distillation config of SegFormer."""
    return config(f'{SEGFORMER}.kd.py', **options)


def toy_config(**losses: dict[str, Any]) -> Config:
    """Load the toy student with the losses given, or its own."""
    cfg = config(f'{TOY}.kd.py')
    cfg.model.teacher.config = TOY_TEACHER
    if losses:
        cfg.model.kd_losses = losses
    return cfg


def no_chance(cfg: Config) -> Config:
    """Copy a config without dropout and stochastic depth."""
    cfg = copy.deepcopy(cfg)
    cfg.model.decode_head.dropout_ratio = 0.0
    cfg.model.backbone.drop_path_rate = 0.0
    return cfg


def build(
    cfg: Config, device: str, seed: int = 0, amp: bool = False
) -> tuple[BaseModel, OptimWrapper]:
    """Build a model with random weights, and its optimizer."""
    be_quiet()
    torch.manual_seed(seed)
    cfg = copy.deepcopy(cfg)
    if amp:
        enable_amp(cfg)
    model = build_own(cfg, device).train()
    return model, build_optim_wrapper(model, cfg.optim_wrapper)


def batch_of(model: BaseModel, size: int, side: int, seed: int = 0) -> dict[str, Any]:
    """Make a batch as the training loop gives it to the model: packed, in page-locked memory."""
    batch = random_batch(size, (side, side), model.num_classes, seed)
    return model.data_preprocessor.prepare(batch)


def random_teacher(config_path: str, folder: str | Path) -> str:
    """Write a checkpoint of a teacher with random weights."""
    model = config(config_path).model
    path = Path(folder) / 'teacher.pth'
    torch.save(dict(state_dict=MODELS.build(model).state_dict()), path)
    return str(path)


def scratch() -> tempfile.TemporaryDirectory:
    """Make a folder for the files of a step."""
    return tempfile.TemporaryDirectory(prefix='gpu_check_')


@contextmanager
def attempt(record: Record, **labels: Any) -> Iterator[None]:
    """Record the traceback of a case that fails in this block, so that the next case runs."""
    try:
        yield
    except (Exception, SystemExit):
        record(**labels, error=traceback.format_exc()[-1800:])
