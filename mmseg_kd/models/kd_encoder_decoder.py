"""The student: an `EncoderDecoder` that a teacher helps to train."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmseg_kd.distillation.base import KDLoss
from mmseg_kd.distillation.taps import check_taps, record_taps
from mmseg_kd.distillation.teacher import Teacher
from mmseg_kd.errors import UserError
from mmseg_kd.models.whole_image import WholeImageEncoderDecoder


@MODELS.register_module()
class KDEncoderDecoder(WholeImageEncoderDecoder):
    """An `EncoderDecoder` with a teacher and distillation losses beside its own.

    Without `teacher` and `kd_losses` it is the plain model, bit for bit. Its checkpoint
    holds the student alone and loads into the plain config.

    Args:
        teacher: `dict(config=..., checkpoint=...)`, the arguments of
            `mmseg_kd.distillation.teacher.Teacher`. It is built when training starts:
            testing needs no teacher file.
        kd_losses: Losses by name, each a registered `KDLoss`, or None to leave one out. Every
            one is logged weighted under its name and raw as `NAME_raw` (`kl_loss`, `kl_raw`).
        **kwargs: The keys of `EncoderDecoder`.

    Raises:
        UserError: Losses without a teacher, two losses of one name, an unknown tap, or
            different class counts.
    """

    def __init__(
        self, teacher: dict | None = None, kd_losses: dict | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        kd_losses = {name: loss for name, loss in (kd_losses or {}).items() if loss is not None}
        if kd_losses and not teacher:
            raise UserError(
                'model.kd_losses needs model.teacher=dict(config=..., checkpoint=...); '
                'for plain training remove kd_losses'
            )
        self.kd_losses = nn.ModuleDict(
            {name: MODELS.build(loss) for name, loss in kd_losses.items()}
        )
        _check_names(kd_losses)
        for name, loss in self.kd_losses.items():
            if not isinstance(loss, KDLoss):
                raise UserError(
                    f'model.kd_losses.{name}: {type(loss).__name__} is no distillation loss'
                )
            if next(loss.parameters(), None) is not None:
                # They would end up in the student's checkpoint.
                raise UserError(f'model.kd_losses.{name}: {type(loss).__name__} has parameters')
            check_taps(self, loss.stages, f'student (model.kd_losses.{name})')
        self._teacher_cfg = teacher
        self._teacher: Teacher | None = None

    @property
    def teacher(self) -> Teacher | None:
        """The teacher; None until `build_teacher`, and where no loss needs one."""
        return self._teacher

    def build_teacher(self) -> Teacher | None:
        """Build and check the teacher, once; training does so by itself."""
        if self._teacher is None and self.kd_losses:
            teacher = Teacher(**self._teacher_cfg)
            if teacher.num_classes != self.num_classes:
                raise UserError(
                    f'the teacher ({teacher.checkpoint}) has {teacher.num_classes} classes, the '
                    f'student {self.num_classes}: give both configs the same num_classes'
                )
            for loss in self.kd_losses.values():
                teacher.check_taps(loss.teacher_stages)
            self._teacher = teacher
        return self._teacher

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Compute the student's losses and, with a teacher, the distillation losses.

        Args:
            inputs: Images (N, 3, H, W), normalised.
            data_samples: Their labels.

        Returns:
            Scalars by name; those whose name contains 'loss' are summed and backpropagated.
        """
        if not self.kd_losses:
            return super().loss(inputs, data_samples)
        # The teacher first: its activations are gone before the student's are kept.
        teacher = self.build_teacher()
        teacher_taps = teacher(
            inputs,
            [name for loss in self.kd_losses.values() for name in loss.teacher_stages],
            self.data_preprocessor,
        )
        names = [name for loss in self.kd_losses.values() for name in loss.stages]
        with record_taps(self, names) as student_taps:
            losses = super().loss(inputs, data_samples)
        if torch.is_grad_enabled():
            for name, x in student_taps.items():
                if not x.requires_grad:
                    raise UserError(
                        f'no gradient passes through the tap {name!r}, so its loss could teach '
                        'nothing: it lies in a frozen or activation-checkpointed module'
                    )
        target = torch.stack([sample.gt_sem_seg.data[0] for sample in data_samples])
        losses.update(self._distillation_losses(student_taps, teacher_taps, target))
        return losses

    def _distillation_losses(
        self, student: dict[str, Tensor], teacher: dict[str, Tensor], target: Tensor
    ) -> dict[str, Tensor]:
        losses = {}
        for name, loss in self.kd_losses.items():
            raw = loss.raw(
                [student[tap] for tap in loss.stages],
                [teacher[tap] for tap in loss.teacher_stages],
                target,
            )
            weighted_name, raw_name = log_names(name)
            losses[weighted_name] = loss.loss_weight * raw
            losses[raw_name] = raw.detach()
        return losses


def _check_names(names: Iterable[str]) -> None:
    """Refuse names that would be logged as one another, or as mmengine's total."""
    owners = {'loss': "mmengine's total"}
    for name in names:
        for logged in log_names(name):
            if logged in owners:
                raise UserError(
                    f'model.kd_losses.{name} would be logged as {logged!r}, like '
                    f'{owners[logged]}: give it another name'
                )
            owners[logged] = name


def log_names(name: str) -> tuple[str, str]:
    """Names under which a loss is logged, weighted and raw.

    mmengine backpropagates what has 'loss' in its name, so the weighted one must have it and
    the raw one must not: `kl_loss` gives ('kl_loss', 'kl_raw'), `cwd` ('cwd_loss', 'cwd_raw').
    """
    stem = name.replace('loss', '').strip('_') or 'kd'
    return (name if 'loss' in name else f'{name}_loss'), f'{stem}_raw'
