"""The student: an `EncoderDecoder` that is trained on labels and by teachers."""

import copy
import re
from typing import Any

import torch
from mmseg.models import CascadeEncoderDecoder
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmseg_kd.distillation.distillation_losses import DistillationLosses
from mmseg_kd.distillation.taps import check_taps, record_taps
from mmseg_kd.distillation.teachers import BaseTeacher, Teachers, teachers_by_name
from mmseg_kd.errors import UserError, user_errors
from mmseg_kd.models.encoder_decoder import EncoderDecoder
from mmseg_kd.models.failures import model_errors

# Size of the blank image where the config has none: its map at stride 32 is 4x4.
BLANK_SIZE = (128, 128)


@MODELS.register_module()
class KDEncoderDecoder(EncoderDecoder):
    """An `EncoderDecoder` with teachers and distillation losses.

    Without `teacher` and `kd_losses` it is the plain model, bit for bit. Its state dict holds
    the student alone and loads into the plain config. `distillation_state` holds the rest: the
    losses' adapters, the weights of `GradientShare` and the averaged teachers.

    Args:
        teacher: `dict(config=..., checkpoint=...)`, the arguments of
            `mmseg_kd.distillation.teacher.Teacher`; `dict(type='EMATeacher', ...)`, an average
            of the student; or several of these by name, `dict(cnn=dict(...), mit=dict(...))`.
            Teachers are built when training starts, so testing needs no teacher file. A teacher
            runs only in iterations in which a loss reads it.
        kd_losses: The distillation losses by name, see
            `mmseg_kd.distillation.distillation_losses.DistillationLosses`. A loss that is None is
            left out.
        **kwargs: The keys of `EncoderDecoder`.

    Raises:
        UserError: There are losses but no teacher, two losses have one name, a tap or teacher is
            unknown, or the shares of the gradient leave nothing to the labels.
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
        # The teachers by name, empty until `build_teacher`.
        self.teachers = Teachers(teachers_by_name(teacher) if teacher else {})
        self.kd_losses = DistillationLosses(kd_losses, self.teachers.cfgs)
        for name, loss in self.kd_losses.items():
            check_taps(self, ['logits', *loss.stages], f'student (model.kd_losses.{name})')
        self.register_state_dict_post_hook(_without_losses)
        self.register_load_state_dict_post_hook(_not_missing_losses)

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
        self.build_teacher()
        # The teachers run first, so that their activations are freed before the student's exist.
        teacher_taps = self.teachers(inputs, self.kd_losses.teacher_taps(), self.data_preprocessor)
        with self.kd_losses.record_student(self) as (taps, features):
            losses = super().loss(inputs, data_samples)
        target = torch.stack([sample.gt_sem_seg.data[0] for sample in data_samples])
        raw = self.kd_losses(taps, teacher_taps, target)
        self.kd_losses.measure(losses, raw, taps, features)
        return losses | self.kd_losses.log(raw, inputs)

    def build_teacher(self) -> BaseTeacher | None:
        """Build and check the teachers, unless they are built; training calls this.

        Returns:
            The first teacher; None if there is none.

        Raises:
            UserError: There are teachers but no losses, a file is missing or does not fit, a
                teacher has another number of classes, or a loss cannot compare its taps.
        """
        if self.teachers.cfgs and not self.kd_losses:
            raise UserError(
                'model.teacher is set, but model.kd_losses has no loss, so nothing would be '
                'distilled: add a loss, or write model.teacher=None to train the plain student'
            )
        if self.kd_losses and not self.teachers:
            self.teachers.build(self.kd_losses.teacher_taps(self.kd_losses.values()), self)
            _try_losses(self)
        return next(iter(self.teachers.values()), None)

    def distillation_state(self) -> dict[str, dict]:
        """Return the state that resuming needs in addition to the student's weights."""
        shares = self.kd_losses.gradient_shares
        return {
            'losses': self.kd_losses.state_dict(),
            'shares': {name: share.state_dict() for name, share in shares.items()},
            'teachers': self.teachers.state_dict(),
        }

    def load_distillation_state(self, state: dict[str, dict]) -> None:
        """Restore `distillation_state`.

        Raises:
            UserError: The state belongs to other losses or teachers.
        """
        problem = 'the checkpoint was trained with other model.kd_losses or model.teacher, whose '
        problem += 'adapters, shares or averages it lacks ('
        advice = '): resume with its own config, or start from its weights with load_from'
        kinds = (KeyError, RuntimeError, TypeError, ValueError, AttributeError)
        with user_errors(problem, *kinds, after=advice, longest=120):
            self.kd_losses.load_state_dict(state['losses'])
            for name, share in self.kd_losses.gradient_shares.items():
                share.load_state_dict(state['shares'][name])
            self.teachers.load_state_dict(state['teachers'])


@MODELS.register_module()
class KDCascadeEncoderDecoder(KDEncoderDecoder, CascadeEncoderDecoder):
    """mmseg's `CascadeEncoderDecoder`, for example OCRNet, with the keys of `KDEncoderDecoder`.

    The tap `logits` has the logits of the last head.
    """


def _without_losses(model: nn.Module, state: dict, prefix: str, metadata: dict) -> None:
    for key in [key for key in state if key.startswith(f'{prefix}kd_losses.')]:
        del state[key]


def _not_missing_losses(model: nn.Module, incompatible: Any) -> None:
    missing = incompatible.missing_keys
    missing[:] = [key for key in missing if not re.search(r'(^|\.)kd_losses\.', key)]


@torch.no_grad()
def _try_losses(student: KDEncoderDecoder) -> None:
    """Compute every loss once on blank images, so that maps that do not fit are reported early.

    The student runs in training mode, because some heads return other outputs in testing. The
    random stream does not change.

    Raises:
        UserError: A loss cannot compare its taps.
    """
    losses, device = student.kd_losses, next(student.parameters()).device
    size = getattr(student.data_preprocessor, 'size', None) or BLANK_SIZE
    # Without a mean, those of the backbone's first convolution.
    stem = next(p[0] for p in student.backbone.parameters() if p.ndim == 4)
    channels = len(getattr(student.data_preprocessor, 'mean', stem))
    images = torch.zeros(2, channels, *size, device=device)
    target = torch.zeros(2, *size, dtype=torch.long, device=device)
    names = ['logits', *(name for loss in losses.values() for name in loss.stages)]
    # A copy, whose running statistics may change.
    twin = copy.deepcopy(student).train()
    misfit = (ValueError, TypeError, AttributeError, ArithmeticError, LookupError)
    devices = [device] if device.type == 'cuda' else []
    with torch.random.fork_rng(devices), user_errors('model.kd_losses: ', *misfit):
        with record_taps(twin, names) as taps:
            twin(images, mode='tensor')
        teacher_taps, what = {}, f'images of {size[0]}x{size[1]} pixels'
        for teacher, needed in losses.teacher_taps(losses.values()).items():
            with model_errors(student.teachers[teacher].segmentor, what, whose=teacher):
                own = student.teachers(images, {teacher: needed}, student.data_preprocessor)
            teacher_taps |= own
        for name in losses:
            with user_errors(f'model.kd_losses.{name}: ', *misfit):
                losses.raw_loss(name, taps, teacher_taps, target)
