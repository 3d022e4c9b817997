"""Whether a machine and a config are ready to train, fact by fact."""

from __future__ import annotations

import logging
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmseg.registry import DATASETS, MODELS
from torch import nn

from mmseg_kd.checkpoints import load_strictly, read_checkpoint, state_dict_of
from mmseg_kd.checkpoints.initialization import forget_pretrained, init_weights
from mmseg_kd.config.errors import config_errors
from mmseg_kd.config.loading import load_config
from mmseg_kd.config.values import SPLITS
from mmseg_kd.engine.devices import GIB, unused_card
from mmseg_kd.errors import UserError
from mmseg_kd.installation import FORKS
from mmseg_kd.paths import check_folder
from mmseg_kd.teacher_report.card import check_classes

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
        config: A config file; its data, weights, teacher and disk are looked at.
        cfg_options: Overrides by dotted key.
    """
    facts = [
        _fact('torch', _torch),
        _fact('CUDA', _cuda),
        _fact('memory', _memory),
        _fact('console', _console),
    ]
    if config is None:
        return facts
    try:
        cfg = load_config(config, cfg_options)
    except UserError as error:
        return [*facts, Fact('config', False, str(error))]
    lines = _collect_log()
    student = _Student(cfg, lines)
    return [
        *facts,
        _fact('data', lambda: _data(cfg)),
        _fact('weights', student.weights),
        _fact('teacher', student.teacher),
        _fact('disk', student.disk),
    ]


def _fact(name: str, look: Callable[[], str]) -> Fact:
    try:
        with config_errors():
            return Fact(name, True, look())
    except (UserError, OSError, RuntimeError) as error:
        return Fact(name, False, ' '.join(str(error).split()))


def _torch() -> str:
    names = ('torchvision', *FORKS)
    versions = ', '.join(f'{name} {version(name)}' for name in names)
    return f'Python {platform.python_version()}, torch {torch.__version__}, {versions}'


def _cuda() -> str:
    if problem := unused_card():
        raise UserError(problem)
    if not torch.cuda.is_available():
        return 'no NVIDIA card: training runs on the CPU'
    return f'{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}'


def _memory() -> str:
    memory = psutil.virtual_memory()
    findings = [f'{memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB are free']
    good = memory.available >= LEAST_FREE_MEMORY
    advice = 'close other programs, or write train_dataloader.num_workers=0'
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        findings.append(f'on the GPU {free / GIB:.1f} of {total / GIB:.1f} GiB')
        if free < LEAST_FREE_GPU:
            good, advice = False, 'see nvidia-smi for what uses the GPU'
    if not good:
        raise UserError(f'{", ".join(findings)}; {advice}')
    return ', '.join(findings)


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


def _data(cfg: Config) -> str:
    found = []
    for split in SPLITS:
        if loader := cfg.get(f'{split}_dataloader'):
            dataset = DATASETS.build(loader.dataset)
            if not len(dataset):
                raise UserError(f'{split}_dataloader.dataset: there are no images')
            found.append(f'{split} {len(dataset)} images')
    return ', '.join(found) or 'the config has no data'


class _Student:
    """The model that a config trains, built when it is first asked for."""

    def __init__(self, cfg: Config, lines: list[str]) -> None:
        self.cfg, self.lines = cfg, lines
        self.model: nn.Module | None = None

    def weights(self) -> str:
        """What the student starts from, loaded as training does."""
        cfg = self.cfg
        if source := cfg.get('load_from'):
            forget_pretrained(cfg.model)
            self.model = MODELS.build(cfg.model)
            tensors = state_dict_of(read_checkpoint(source), source)
            reset = bool(cfg.get('reset_classifier'))
            matched = load_strictly(self.model, tensors, source, reset_classifier=reset)
            return f'{source}: matched {matched}/{matched} tensors'
        model = MODELS.build(cfg.model)
        init_weights(model)
        self.model = model
        matched = [line for line in self.lines if 'matched' in line]
        return '; '.join(matched) or 'none: the student trains from scratch'

    def teacher(self) -> str:
        """The teachers, loaded as training does, with their classes compared."""
        if not self.cfg.model.get('teacher'):
            return 'the config has none'
        self.lines.clear()
        if self.model is None:
            forget_pretrained(self.cfg.model)
            self.model = MODELS.build(self.cfg.model)
        self.model.build_teacher()
        if loader := self.cfg.get('val_dataloader'):
            classes = DATASETS.build(loader.dataset | dict(lazy_init=True)).metainfo.get('classes')
            for teacher in self.model.teachers.values():
                if hasattr(teacher, 'classes'):
                    check_classes(teacher, classes)
        return '; '.join(self.lines) or 'an average of the student'

    def disk(self) -> str:
        """Room for the checkpoints, in the work_dir."""
        cfg = self.cfg
        check_folder(cfg.work_dir, 'work_dir')
        folder = Path(cfg.work_dir).resolve()
        there = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(there).free
        finding = f'{free / GIB:.1f} GiB are free for {cfg.work_dir}'
        if self.model is None or not cfg.get('train_cfg'):
            return finding
        hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
        interval, kept = hook.get('interval', -1), hook.get('max_keep_ckpts', -1)
        saved = cfg.train_cfg.get('max_iters', 0) // interval if interval > 0 else 1
        files = min(saved, kept) if kept > 0 else saved
        size = 4 * sum(p.numel() for p in self.model.parameters())
        # One more is there while it replaces the oldest, and one holds the best weights alone.
        needed = size * (TENSORS_PER_WEIGHT * (files + 1) + 1)
        finding += f', the checkpoints of a run take {needed / GIB:.1f} GiB'
        if free < needed:
            raise UserError(
                f'{finding}; name a --work-dir on another disk, or write '
                'default_hooks.checkpoint.max_keep_ckpts=1'
            )
        return finding


def _collect_log() -> list[str]:
    """Make a current logger that keeps its lines from the console; the list receives them."""
    logger = MMLogger.get_instance(f'environment {id(object())}', log_level='INFO')
    for handler in logger.handlers:
        handler.setLevel(logging.ERROR)
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger.addHandler(handler)
    return lines
