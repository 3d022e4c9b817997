"""The student: an `EncoderDecoder` that a teacher helps to train."""

from __future__ import annotations

import copy
import inspect
import math
import re
import warnings
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

import torch
from mmseg.registry import MODELS, TASK_UTILS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmseg_kd.distillation.base import KDLoss, log_names
from mmseg_kd.distillation.ema_teacher import EMATeacher
from mmseg_kd.distillation.gradient_share import GradientShare, share_of
from mmseg_kd.distillation.gradients import Pull, measure_gradients, read_pulls, weight_for
from mmseg_kd.distillation.schedules import Schedule
from mmseg_kd.distillation.taps import check_taps, record_features, record_taps
from mmseg_kd.distillation.teacher import BaseTeacher
from mmseg_kd.errors import UserError
from mmseg_kd.models.encoder_decoder import EncoderDecoder

# Of the image on which losses are tried where the config has no size: a map of 4x4 at stride 32.
TRIAL_SIZE = (128, 128)


@MODELS.register_module()
class KDEncoderDecoder(EncoderDecoder):
    """An `EncoderDecoder` with a teacher and distillation losses beside its own.

    Without `teacher` and `kd_losses` it is the plain model, bit for bit. Its state dict holds
    the student alone and loads into the plain config; adapters of the losses, shares of the
    gradient and averaged teachers are in `distillation_state`.

    Args:
        teacher: `dict(config=..., checkpoint=...)`, the arguments of
            `mmseg_kd.distillation.teacher.Teacher`; `dict(type='EMATeacher', ...)`, an average
            of the student; or several of these by name, `dict(cnn=dict(...), mit=dict(...))`.
            They are built when training starts: testing needs no teacher file.
        kd_losses: Losses by name, each a registered `KDLoss`, or None to leave one out. Every
            one is logged weighted under its name and raw as `NAME_raw` (`kl_loss`, `kl_raw`);
            weights that change are logged as `NAME_weight`. A loss whose schedule gives 0 is
            not computed and has no raw value, and a teacher that no other loss needs is not run.
        **kwargs: The keys of `EncoderDecoder`.

    Raises:
        UserError: Losses without a teacher, two losses of one name, an unknown tap or teacher,
            different class counts, or shares of the gradient that leave none to the labels.
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
        self._teacher_cfgs = teachers_by_name(teacher or {})
        for name, loss in self.kd_losses.items():
            if not isinstance(loss, KDLoss):
                raise UserError(
                    f'model.kd_losses.{name}: {type(loss).__name__} is no distillation loss'
                )
            check_taps(self, ['logits', *loss.stages], f'student (model.kd_losses.{name})')
            for unknown in set(self._teachers_of(loss)) - set(self._teacher_cfgs):
                raise UserError(
                    f'model.kd_losses.{name}.teacher: there is no teacher {unknown!r}; '
                    f'model.teacher has {", ".join(self._teacher_cfgs)}'
                )
            if len(self._teachers_of(loss)) > 1 and next(loss.parameters(), None) is not None:
                raise UserError(
                    f'model.kd_losses.{name}: one adapter cannot fit {len(self._teacher_cfgs)} '
                    f'teachers; name one, such as teacher={next(iter(self._teacher_cfgs))!r}'
                )
        total = sum(share.share for share in self._shares.values())
        if total >= 1:
            raise UserError(
                f'model.kd_losses: the shares of GradientShare sum to {total:.3g}; they must leave '
                'a part of the gradient to the labels'
            )
        self._teachers: dict[str, BaseTeacher] = {}
        # A hook sets it for the next iteration, and reads `pulls` afterwards.
        self.measure_gradients = False
        # What the last iteration measured: names of the losses, and a table on the device.
        self.measured: tuple[list[str], Tensor] | None = None
        self.register_state_dict_post_hook(_without_losses)
        self.register_load_state_dict_post_hook(_not_missing_losses)

    @property
    def teachers(self) -> dict[str, BaseTeacher]:
        """The teachers by name; a single one is called 'teacher'. None before `build_teacher`."""
        return self._teachers

    @property
    def teacher(self) -> BaseTeacher | None:
        """The first teacher; None until `build_teacher`, and where no loss needs one."""
        return next(iter(self._teachers.values()), None)

    @property
    def pulls(self) -> tuple[Pull, dict[str, Pull]] | None:
        """Gradients of the labels' losses and of each weighted one, if the last step measured."""
        if self.measured is None:
            return None
        own, pulls = read_pulls(self.measured[1], self.measured[0])
        return own, {name: pull * self.kd_losses[name].weight for name, pull in pulls.items()}

    @property
    def _shares(self) -> dict[str, GradientShare]:
        return {
            name: share
            for name, loss in self.kd_losses.items()
            if (share := share_of(loss.loss_weight))
        }

    @property
    def needs_hook(self) -> bool:
        """Whether something depends on the iteration or is kept beside the student's weights."""
        return any(
            isinstance(value, Schedule)
            for loss in self.kd_losses.values()
            for value in vars(loss).values()
        ) or bool(
            next(self.kd_losses.parameters(), None) is not None
            or any(cfg.get('type') == 'EMATeacher' for cfg in self._teacher_cfgs.values())
        )

    def build_teacher(self) -> BaseTeacher | None:
        """Build and check the teachers, once; training does so by itself.

        Raises:
            UserError: A teacher without losses, a file that is missing or does not fit, or a loss
                that cannot compare its taps.
        """
        if self._teacher_cfgs and not self.kd_losses:
            raise UserError(
                'model.teacher is set, but model.kd_losses has no loss, so nothing would be '
                'distilled: add a loss, or write model.teacher=None to train the plain student'
            )
        if not self._teachers:
            read = {name for loss in self.kd_losses.values() for name in self._teachers_of(loss)}
            teachers = {
                name: self._build_teacher(cfg, name)
                for name, cfg in self._teacher_cfgs.items()
                if name in read
            }
            for loss in self.kd_losses.values():
                for name in self._teachers_of(loss):
                    teachers[name].check_taps(loss.teacher_stages)
            self._teachers = teachers
            self._try_losses()
        return self.teacher

    def _build_teacher(self, cfg: dict, name: str) -> BaseTeacher:
        cfg = dict(cfg)
        kind = cfg.pop('type', 'Teacher')
        # Built without the registry, which would build a model dict in `config` first.
        cls = TASK_UTILS.get(kind)
        if not (inspect.isclass(cls) and issubclass(cls, BaseTeacher)):
            raise UserError(f"model.teacher: type={kind!r} is no teacher; there is 'EMATeacher'")
        if cls is EMATeacher:
            student = copy.deepcopy(self)
            student.kd_losses = nn.ModuleDict()
            cfg['average'] = student
        teacher = cls(**cfg)
        if teacher.num_classes != self.num_classes:
            raise UserError(
                f'the teacher ({getattr(teacher, "checkpoint", name)}) has {teacher.num_classes} '
                f'classes, the student {self.num_classes}: give both configs the same num_classes'
            )
        return teacher

    @torch.no_grad()
    def _try_losses(self) -> None:
        """Compute every loss once on a blank image, so that misfits are reported before training.

        The student runs in training mode, in which some heads return other outputs than in
        testing. Its buffers and the random stream stay as they were.
        """
        device = next(self.parameters()).device
        size = getattr(self.data_preprocessor, 'size', None) or TRIAL_SIZE
        images = torch.zeros(2, 3, *size, device=device)
        training, buffers = self.training, [buffer.clone() for buffer in self.buffers()]
        names = ['logits', *(name for loss in self.kd_losses.values() for name in loss.stages)]
        self.train()
        try:
            with torch.random.fork_rng([device] if device.type == 'cuda' else []):
                with record_taps(self, names) as taps:
                    self(images, mode='tensor')
                teacher_taps = self._run_teachers(images, dict(self.kd_losses.items()))
                for loss in self.kd_losses.values():
                    self._raw(loss, taps, teacher_taps)
        except ValueError as error:
            raise UserError(f'model.kd_losses: {error}') from error
        finally:
            self.train(training)
            for buffer, before in zip(self.buffers(), buffers, strict=True):
                buffer.copy_(before)

    def _teachers_of(self, loss: KDLoss) -> dict[str, float]:
        names = list(self._teacher_cfgs)
        return loss.teacher_weights or dict.fromkeys(names, 1 / max(len(names), 1))

    def set_iteration(self, iteration: int) -> None:
        """Tell the schedules the number of the next iteration, from 0."""
        for loss in self.kd_losses.values():
            loss.set_iteration(iteration)

    def put_numbers_on(self, device: torch.device) -> None:
        """Keep scheduled weights and temperatures in tensors, for steps in a CUDA graph."""
        for loss in self.kd_losses.values():
            loss.put_numbers_on(device)

    def step_kind(self) -> tuple | None:
        """Return what the next step computes; None if it finds the weight of a share."""
        if any(map(self._due, self._shares)):
            return None
        names = (name for name in self.kd_losses if self._counts(name))
        return self.measure_gradients, *names

    def start_averages(self) -> None:
        """Let averaged teachers begin as what the student is, with all its weights loaded."""
        for teacher in self._teachers.values():
            if isinstance(teacher, EMATeacher) and not teacher.updates:
                teacher.start(self)

    def update_teachers(self) -> None:
        """Let averaged teachers follow the student, after its step."""
        for teacher in self._teachers.values():
            if isinstance(teacher, EMATeacher):
                teacher.update(self)

    def distillation_state(self) -> dict[str, dict]:
        """Return what a run needs to be resumed, beyond the student's weights."""
        return {
            'losses': self.kd_losses.state_dict(),
            'shares': {name: share.state_dict() for name, share in self._shares.items()},
            'teachers': {
                name: teacher.state_dict()
                for name, teacher in self._teachers.items()
                if isinstance(teacher, EMATeacher)
            },
        }

    def load_distillation_state(self, state: dict[str, dict]) -> None:
        """Continue from `distillation_state`.

        Raises:
            UserError: The state is of other losses or teachers.
        """
        try:
            self.kd_losses.load_state_dict(state['losses'])
            for name, share in self._shares.items():
                share.load_state_dict(state['shares'][name])
            for name, teacher in self._teachers.items():
                if isinstance(teacher, EMATeacher):
                    teacher.load_state_dict(state['teachers'][name])
        except (KeyError, RuntimeError, TypeError, ValueError, AttributeError) as error:
            raise UserError(
                'the checkpoint was trained with other model.kd_losses or model.teacher, whose '
                f'adapters, shares or averages it lacks ({" ".join(str(error).split())[:120]}): '
                'resume with the config of before, or start from its weights with load_from'
            ) from error

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Compute the student's losses and, with a teacher, the distillation losses.

        Args:
            inputs: Images (N, 3, H, W), normalised.
            data_samples: Their labels.

        Returns:
            Scalars by name; those whose name contains 'loss' are summed and backpropagated.
        """
        self.measured = None
        if not self.kd_losses:
            return super().loss(inputs, data_samples)
        self.build_teacher()
        active = {name: loss for name, loss in self.kd_losses.items() if self._counts(name)}
        # The teachers first: their activations are gone before the student's are kept.
        teacher_taps = self._run_teachers(inputs, active)
        measure = torch.is_grad_enabled() and (
            self.measure_gradients or any(map(self._due, self._shares))
        )
        names = [name for loss in active.values() for name in loss.stages]
        features = record_features(self) if measure else nullcontext()
        read = [*names, 'logits'] if measure else names
        with record_taps(self, read) as taps, features as stages:
            losses = super().loss(inputs, data_samples)
        if torch.is_grad_enabled():
            for name in names:
                if not taps[name].requires_grad:
                    raise UserError(
                        f'no gradient passes through the tap {name!r}, so its loss could teach '
                        'nothing: it lies in a frozen or activation-checkpointed module'
                    )
        target = torch.stack([sample.gt_sem_seg.data[0] for sample in data_samples])
        raw = {name: self._raw(loss, taps, teacher_taps, target) for name, loss in active.items()}
        if measure:
            self._measure(losses, raw, stages, taps['logits'])
        losses.update(self._logged(raw, inputs))
        return losses

    def _raw(
        self,
        loss: KDLoss,
        taps: dict[str, Tensor],
        teacher_taps: dict[str, dict[str, Tensor]],
        target: Tensor | None = None,
    ) -> Tensor:
        """Compute a loss without its weight, summed over its teachers by theirs."""
        return sum(
            weight
            * loss.raw(
                [taps[tap] for tap in loss.stages],
                [teacher_taps[teacher][tap] for tap in loss.teacher_stages],
                target,
            )
            for teacher, weight in self._teachers_of(loss).items()
        )

    def _counts(self, name: str) -> bool:
        """Whether a loss is to be computed: a scheduled weight of 0 has no use for it."""
        loss = self.kd_losses[name]
        return (
            not isinstance(loss.loss_weight, Schedule)
            or loss.weight != 0
            or self._due(name)
            # DDP waits for the gradient of every parameter.
            or next(loss.parameters(), None) is not None
        )

    def _due(self, name: str) -> bool:
        loss = self.kd_losses[name]
        share = share_of(loss.loss_weight)
        return share is not None and share.due(loss.iteration)

    def _run_teachers(
        self, inputs: Tensor, active: dict[str, KDLoss]
    ) -> dict[str, dict[str, Tensor]]:
        taps = {}
        for name, teacher in self._teachers.items():
            readers = [loss for loss in active.values() if name in self._teachers_of(loss)]
            if readers:
                needed = [tap for loss in readers for tap in loss.teacher_stages]
                taps[name] = teacher(inputs, needed, self.data_preprocessor)
        return taps

    def _measure(
        self,
        losses: dict[str, Tensor],
        raw: dict[str, Tensor],
        features: list[Tensor],
        logits: Tensor,
    ) -> None:
        """Measure the gradients of this batch and bring the shares' weights up to it."""
        task = sum(value for name, value in losses.items() if 'loss' in name)
        try:
            self.measured = list(raw), measure_gradients(task, raw, features, logits)
        except RuntimeError as error:
            if 'use_reentrant' not in str(error):
                raise
            self._cannot_measure()
        if self.measured and any(map(self._due, self._shares)):
            self._update_shares(*read_pulls(self.measured[1], raw))

    def _cannot_measure(self) -> None:
        reason = 'gradients cannot be measured through reentrant activation checkpointing'
        if self._shares:
            raise UserError(
                f'{reason}, so GradientShare finds no weight: write numbers, or leave out '
                'activation_checkpointing and with_cp'
            )
        warnings.warn(f'{reason}: there is no gradient report', stacklevel=2)

    def _update_shares(self, own: Pull, pulls: dict[str, Pull]) -> None:
        total = sum(
            share.share
            for name, share in self._shares.items()
            if self._due(name) or self.kd_losses[name].weight
        )
        others = own.features + sum(
            abs(self.kd_losses[name].weight) * pull.features
            for name, pull in pulls.items()
            if name not in self._shares
        )
        for name in filter(self._due, self._shares):
            share = self._shares[name].share
            # With several shares the others' sum grows with them: s / (1 - sum of all).
            weight = weight_for(share, pulls[name], others) * (1 - share) / (1 - total)
            if math.isfinite(weight) and others > 0:
                self._shares[name].update(weight)
                # A tensor of the weight follows.
                self.kd_losses[name].set_iteration(self.kd_losses[name].iteration)

    def _logged(self, raw: dict[str, Tensor], like: Tensor) -> dict[str, Tensor]:
        losses = {}
        for name, loss in self.kd_losses.items():
            weighted_name, raw_name = log_names(name)
            value = raw.get(name)
            weight = loss.number('loss_weight')
            losses[weighted_name] = like.new_zeros(()) if value is None else weight * value
            if value is not None:
                losses[raw_name] = value.detach()
            if isinstance(loss.loss_weight, Schedule):
                weight_name = f'{raw_name.removesuffix("_raw")}_weight'
                losses[weight_name] = (
                    weight.clone() if isinstance(weight, Tensor) else like.new_full((), weight)
                )
        return losses


def teachers_by_name(teacher: dict) -> dict[str, dict]:
    """Read `model.teacher`: one teacher, then called 'teacher', or several by name."""
    several = all(isinstance(value, dict) for value in teacher.values())
    if several and not {'type', 'config', 'checkpoint'} & set(teacher):
        return dict(teacher)
    return {'teacher': teacher}


def _without_losses(model: nn.Module, state: dict, prefix: str, metadata: dict) -> None:
    for key in [key for key in state if key.startswith(f'{prefix}kd_losses.')]:
        del state[key]


def _not_missing_losses(model: nn.Module, incompatible: Any) -> None:
    missing = incompatible.missing_keys
    missing[:] = [key for key in missing if not re.search(r'(^|\.)kd_losses\.', key)]


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
