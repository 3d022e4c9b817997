"""The distillation losses of a student: computed, weighted, measured and logged."""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_kd.distillation import gradients
from mmseg_kd.distillation.base import KDLoss, log_names
from mmseg_kd.distillation.gradients import GradientShare, GradientStats
from mmseg_kd.distillation.schedules import Schedule
from mmseg_kd.distillation.taps import record_features, record_taps
from mmseg_kd.errors import UserError

# By name.
Tensors = Mapping[str, Tensor]


class DistillationLosses(nn.ModuleDict):
    """The distillation losses by name.

    A loss is logged weighted under its name and raw as `NAME_raw` (`kl_loss`, `kl_raw`). A weight
    that changes is logged as `NAME_weight`. A loss is inactive where its schedule gives 0: it is
    not computed and has no raw value.

    Args:
        losses: Losses by name: configs of registered classes, or built losses.
        teachers: Names of the teachers.

    Raises:
        UserError: A loss is not a `KDLoss` or names an unknown teacher, two losses would be logged
            under one name, or the shares of `GradientShare` leave nothing to the labels.
    """

    def __init__(self, losses: Mapping[str, dict | KDLoss], teachers: Iterable[str]) -> None:
        super().__init__()
        self._teachers = list(teachers)
        owners = {'loss': "mmengine's total"}
        for name, loss in losses.items():
            for logged in log_names(name):
                if owners.setdefault(logged, name) != name:
                    raise UserError(
                        f'model.kd_losses.{name} would be logged as {logged!r}, like '
                        f'{owners[logged]}: give it another name'
                    )
            if hasattr(self, name):
                raise UserError(f'model.kd_losses.{name} is a reserved name; write {name}_loss')
            self[name] = loss if isinstance(loss, nn.Module) else MODELS.build(loss)
            self._check(name, self[name])
        self._requested = False
        # Gradients of the last step that measured them. Eager and recorded steps write into the
        # same memory, so nothing has to be copied after the replay of a CUDA graph.
        self._table: Tensor | None = None
        total = sum(share.share for share in self.gradient_shares.values())
        if total >= 1:
            raise UserError(
                f'model.kd_losses: the shares of GradientShare sum to {total:.3g}; they must leave '
                'a part of the gradient to the labels'
            )

    def _check(self, name: str, loss: nn.Module) -> None:
        key = f'model.kd_losses.{name}'
        if not isinstance(loss, KDLoss):
            raise UserError(f'{key}: {type(loss).__name__} is not a distillation loss')
        for setting, value in vars(loss).items():
            if setting != 'loss_weight' and gradients.share_of(value):
                raise UserError(f'{key}.{setting}: GradientShare is for loss_weight')
        teachers = list(self.teachers_of(loss))
        for unknown in set(teachers) - set(self._teachers):
            raise UserError(
                f'{key}.teacher: no teacher is {unknown!r}; there are {", ".join(self._teachers)}'
            )
        if len(teachers) > 1 and list(loss.parameters()):
            raise UserError(
                f'{key}: one adapter cannot fit {len(teachers)} teachers; name one, such as '
                f'teacher={teachers[0]!r}'
            )

    @property
    def gradient_shares(self) -> dict[str, GradientShare]:
        """The `GradientShare` of every loss that has one, by name."""
        shares = {name: gradients.share_of(loss.loss_weight) for name, loss in self.items()}
        return {name: share for name, share in shares.items() if share}

    def teachers_of(self, loss: KDLoss) -> dict[str, float]:
        """Return the weights of a loss' teachers by name; equal and of sum 1 by default."""
        return loss.teacher_weights or dict.fromkeys(self._teachers, 1 / len(self._teachers))

    def active_losses(self) -> dict[str, KDLoss]:
        """Return the losses that the current iteration computes."""

        def is_active(loss: KDLoss) -> bool:
            fixed = not isinstance(loss.loss_weight, Schedule)
            # A loss with parameters is always active: DDP waits for the gradient of each of them.
            trains = bool(list(loss.parameters()))
            return fixed or trains or loss.weight != 0 or gradients.is_due(loss)

        return {name: loss for name, loss in self.items() if is_active(loss)}

    def teacher_taps(self, losses: Iterable[KDLoss] | None = None) -> dict[str, list[str]]:
        """Return the taps that losses read, by teacher.

        Args:
            losses: The losses; by default those of the current iteration.
        """
        taps: dict[str, list[str]] = {}
        for loss in self.active_losses().values() if losses is None else losses:
            for teacher in self.teachers_of(loss):
                taps.setdefault(teacher, []).extend(loss.teacher_stages)
        return taps

    @contextmanager
    def record_student(
        self, student: nn.Module
    ) -> Iterator[tuple[dict[str, Tensor], list[Tensor]]]:
        """Record the taps that the active losses read, and the features to measure gradients at.

        Yields:
            Maps (N, C, H, W) by tap, and the features, empty in an iteration that does not
            measure. Both are filled once the context has ended.

        Raises:
            UserError: No gradient passes through a tap.
        """
        names = [tap for loss in self.active_losses().values() for tap in loss.stages]
        features = record_features(student) if self._measures else nullcontext([])
        with record_taps(student, [*names, 'logits']) as taps, features as stages:
            yield taps, stages
        for name in names:
            if torch.is_grad_enabled() and not taps[name].requires_grad:
                raise UserError(
                    f'no gradient passes through the tap {name!r}, because it is in a frozen or '
                    'activation-checkpointed module: choose another tap'
                )

    def forward(
        self, taps: Tensors, teacher_taps: Mapping[str, Tensors], target: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Compute the active losses without their weights.

        Args:
            taps: The student's maps (N, C, H, W) by tap.
            teacher_taps: The teachers' maps by teacher and tap.
            target: Labels (N, H, W).

        Returns:
            Scalars by name, each summed over its teachers by their weights.
        """
        names = self.active_losses()
        return {name: self.raw_loss(name, taps, teacher_taps, target) for name in names}

    def raw_loss(
        self, name: str, taps: Tensors, teacher_taps: Mapping[str, Tensors], target: Tensor | None
    ) -> Tensor:
        """Compute one loss without its weight; arguments as for `forward`."""
        loss, values = self[name], []
        student = [taps[tap] for tap in loss.stages]
        for own, weight in self.teachers_of(loss).items():
            value = loss.raw(student, [teacher_taps[own][t] for t in loss.teacher_stages], target)
            values.append(value if weight == 1 else weight * value)
        return values[0] if len(values) == 1 else sum(values)

    def measure(self, losses: Tensors, raw: Tensors, taps: Tensors, features: list[Tensor]) -> None:
        """Measure the gradients if this step has to, and update the weights of `GradientShare`.

        Args:
            losses: The student's own losses by name.
            raw: The distillation losses of `forward`.
            taps: The student's taps; `logits` is among them.
            features: The student's features of `record_student`.

        Raises:
            UserError: A `GradientShare` needs a gradient that cannot be measured.
        """
        if not self._measures:
            return
        task = sum(value.mean() for name, value in losses.items() if 'loss' in name)
        zero = task.new_zeros(())
        every = {name: raw.get(name, zero) for name in self}
        try:
            table = gradients.measure_gradients(task, every, features, taps['logits'])
        except RuntimeError as error:
            if 'use_reentrant' not in str(error):
                raise
            self._table = None
            reason = 'gradients cannot be measured through reentrant activation checkpointing'
            if self.gradient_shares:
                raise UserError(
                    f'{reason}, so GradientShare finds no weight: write numbers, or leave out '
                    'activation_checkpointing and with_cp'
                ) from error
            warnings.warn(f'{reason}: there is no gradient report', stacklevel=2)
            return
        if self._table is None or self._table.device != table.device:
            self._table = torch.empty_like(table)
        self._table.copy_(table)
        if self._finds_weight:
            gradients.update_shares(self, *gradients.read_table(self._table, self))

    def log(self, raw: Tensors, like: Tensor) -> dict[str, Tensor]:
        """Return the scalars to log. Those with 'loss' in their name are minimised.

        Args:
            raw: The losses of `forward`.
            like: A tensor on the device.
        """
        logs = {}
        for name, loss in self.items():
            weighted_name, raw_name = log_names(name)
            value, weight = raw.get(name), loss.number('loss_weight')
            logs[weighted_name] = like.new_zeros(()) if value is None else weight * value
            if value is not None:
                logs[raw_name] = value.detach()
            if isinstance(loss.loss_weight, Schedule):
                logs[f'{raw_name.removesuffix("_raw")}_weight'] = like.new_zeros(()) + weight
        return logs

    def set_iteration(self, iteration: int) -> None:
        """Set the number of the next iteration, from 0, for the schedules."""
        for loss in self.values():
            loss.set_iteration(iteration)

    def put_numbers_on(self, device: torch.device) -> None:
        """Keep scheduled weights and temperatures in tensors, for steps in a CUDA graph."""
        for loss in self.values():
            loss.put_numbers_on(device)

    def step_kind(self) -> tuple | None:
        """Return a key for what the next step computes; None if it measures a `GradientShare`."""
        return None if self._finds_weight else (self._requested, *self.active_losses())

    def request_gradients(self) -> None:
        """Measure the gradients of the losses in the next step."""
        self._requested = True

    def take_gradients(self) -> tuple[GradientStats, dict[str, GradientStats]] | None:
        """Return the gradients of the step for which they were requested; waits for the device.

        Returns:
            The gradient of the labels' losses and of each weighted distillation loss by name. None
            if they were not requested, or cannot be measured.
        """
        requested, self._requested = self._requested, False
        if not requested or self._table is None:
            return None
        task, stats = gradients.read_table(self._table, self)
        return task, {name: each * self[name].weight for name, each in stats.items()}

    @property
    def _measures(self) -> bool:
        return (self._requested or self._finds_weight) and torch.is_grad_enabled()

    @property
    def _finds_weight(self) -> bool:
        return any(map(gradients.is_due, self.values()))
