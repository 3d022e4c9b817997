"""The kinds of teachers: a trained model from a file, and the moving average of the student."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmseg.registry import MODELS, TASK_UTILS
from torch import nn

from mmseg_kd.checkpoints import find_latest_checkpoint, load_strictly, read_checkpoint, sha256_of
from mmseg_kd.distillation.teachers import BaseTeacher
from mmseg_kd.errors import UserError, no_file, user_errors


@TASK_UTILS.register_module()
class Teacher(BaseTeacher):
    """A trained segmentor, built from a config and a checkpoint and loaded strictly.

    Args:
        config: Path of the teacher's config, or its model dict.
        checkpoint: Path of the teacher's checkpoint.
        dtype: As for `BaseTeacher`.
        baseline: The student's result without a teacher, if it is known: its mIoU on the validation
            split in percent, or the work_dir of that run. The teacher's mIoU is compared with it
            before training (`mmseg_kd.teacher_report.card`).
        classes: Names of its classes in the order of their ids, which replace those in the
            checkpoint. They must be the student's classes.

    Raises:
        UserError: The config or the checkpoint is missing, or they do not fit; or the dtype is
            unknown.
    """

    def __init__(
        self,
        config: str | dict,
        checkpoint: str,
        dtype: str | None = None,
        baseline: float | str | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        segmentor = build_segmentor(config)
        if not Path(checkpoint).is_file():
            make = f', `python tools/train.py {config}`,' if isinstance(config, str) else ''
            hint = f'train the teacher{make} or point model.teacher.checkpoint at your file'
            if latest := find_latest_checkpoint(Path(checkpoint).parent):
                hint = f'write model.teacher.checkpoint={latest}'
            raise UserError(f"the teacher's checkpoint {checkpoint} {no_file(checkpoint)}: {hint}")
        self.config = config if isinstance(config, str) else '(inline)'
        self.checkpoint = str(checkpoint)
        self.baseline = baseline
        self.sha256 = sha256_of(checkpoint)
        loaded = read_checkpoint(checkpoint)
        load_strictly(segmentor, loaded, self.checkpoint)
        self.classes = classes or classes_of(loaded.get('meta'))
        super().__init__(segmentor, dtype)
        self.source = f'{self.checkpoint} (sha256 {self.sha256[:8]})'


@TASK_UTILS.register_module()
class EMATeacher(BaseTeacher):
    """The exponential moving average of the student's weights and BN statistics.

    Tarvainen and Valpola, Mean teachers are better role models, NeurIPS 2017,
    https://arxiv.org/abs/1703.01780. After every step of the optimizer

        average = m * average + (1 - m) * student,  m = min(momentum, 1 - 1 / (updates + 1))

    so that the first steps lose their influence quickly. Like every teacher it runs in eval mode
    and without gradients. Checkpoints that can be resumed contain it.

    Args:
        student: The student, which is copied.
        momentum: EMA momentum, at least 0 and below 1.
        dtype: As for `Teacher`.

    Raises:
        UserError: The momentum is outside [0, 1), or the dtype unknown.
    """

    follows_student = True

    def __init__(
        self, student: nn.Module, momentum: float = 0.999, dtype: str | None = None
    ) -> None:
        if not isinstance(momentum, int | float) or not 0 <= momentum < 1:
            raise UserError(f'model.teacher.momentum: {momentum!r} is not in [0, 1)')
        super().__init__(copy.deepcopy(student), dtype)
        self.momentum = momentum
        self.source = f'average of the student, momentum {momentum:g}'
        self.updates = 0

    def start(self, student: nn.Module) -> None:
        """Copy the student's weights before its first step; a resumed average stays as it is."""
        if not self.updates:
            self.segmentor.load_state_dict(student.state_dict())

    @torch.no_grad()
    def step(self, student: nn.Module) -> None:
        """Update the average with the student's current weights."""
        self.updates += 1
        self.to(next(student.parameters()).device)
        rest = 1 - min(self.momentum, 1 - 1 / (self.updates + 1))
        own, new = ([*x.parameters(), *x.buffers()] for x in (self.segmentor, student))
        floats = [pair for pair in zip(own, new, strict=True) if pair[0].is_floating_point()]
        torch._foreach_lerp_(*map(list, zip(*floats, strict=True)), rest)
        for mine, theirs in zip(own, new, strict=True):
            if not mine.is_floating_point():
                mine.copy_(theirs)

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a checkpoint keeps."""
        return {'updates': self.updates, 'average': self.segmentor.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.updates = state['updates']
        self.segmentor.load_state_dict(state['average'])


def classes_of(meta: Any) -> list[str] | None:
    """Return the class names in the `meta` of a checkpoint of mmseg 1.x or 0.x, or None."""
    meta = meta if isinstance(meta, dict) else {}
    dataset = meta.get('dataset_meta')
    # `dataset_meta` may be the list of names itself.
    names = dataset.get('classes') if isinstance(dataset, dict) else dataset or meta.get('CLASSES')
    return list(names) if isinstance(names, list | tuple) and names else None


def read_model(config: str | dict) -> ConfigDict:
    """Read the model dict of a config file, or copy one.

    Args:
        config: Path of a config, or its model dict.

    Raises:
        UserError: The file is missing, cannot be read or has no `model`.
    """
    if isinstance(config, dict):
        return ConfigDict(copy.deepcopy(config))
    if not Path(config).is_file():
        raise UserError(f"model.teacher.config: the teacher's config {config} {no_file(config)}")
    with user_errors(f'model.teacher.config: {config} cannot be read: ', Exception, SystemExit):
        model = Config.fromfile(config).get('model')
    if not isinstance(model, dict) or not isinstance(model.get('backbone'), dict):
        raise UserError(f'model.teacher.config: {config} has no `model` with a backbone')
    return model


def without_distillation(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the model dict of the plain student: without teacher and distillation losses."""
    return {key: part for key, part in model.items() if key not in ('teacher', 'kd_losses')}


def build_segmentor(config: str | dict) -> nn.Module:
    """Build the model of a config, with no pretrained weights and without SyncBN.

    torch's random stream stays as it was, so that a student starts the same with and without a
    teacher.

    Args:
        config: Path of a config, or its model dict, which stays as it is.

    Raises:
        UserError: As `read_model`.
    """
    # Imported here, because they take 90 MB and a report, which imports this module, needs neither.
    from mmengine.model import revert_sync_batchnorm

    from mmseg_kd.checkpoints.initialization import forget_pretrained

    model = read_model(config)
    model.test_cfg = model.get('test_cfg') or dict(mode='whole')
    forget_pretrained(model)
    with torch.random.fork_rng(devices=[]):
        return revert_sync_batchnorm(MODELS.build(model))
