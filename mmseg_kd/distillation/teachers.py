"""The teachers of a student, by name."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mmseg.registry import TASK_UTILS
from torch import Tensor, nn

from mmseg_kd.distillation.base_teacher import BaseTeacher
from mmseg_kd.errors import UserError


def teachers_by_name(teacher: dict) -> dict[str, dict]:
    """Return the teachers' configs by name; a single teacher is called 'teacher'.

    Args:
        teacher: The config's `model.teacher`: one teacher, or several by name.

    Example:
        >>> teachers_by_name(dict(type='EMATeacher'))
        {'teacher': {'type': 'EMATeacher'}}
    """
    several = all(isinstance(value, dict) for value in teacher.values())
    if several and not {'type', 'config', 'checkpoint'} & set(teacher):
        return dict(teacher)
    return {'teacher': teacher}


class Teachers(dict[str, BaseTeacher]):
    """The teachers by name, empty until `build`.

    Args:
        cfgs: The teachers' configs by name.
    """

    def __init__(self, cfgs: Mapping[str, dict]) -> None:
        super().__init__()
        self.cfgs = dict(cfgs)

    def build(self, taps: Mapping[str, Iterable[str]], student: nn.Module) -> None:
        """Build the teachers that a loss reads, and check that they have its taps.

        Args:
            taps: Names of the taps that are read, by teacher.
            student: The student.

        Raises:
            UserError: A file is missing or does not fit, a tap is unknown, or a teacher has
                another number of classes than the student.
        """
        built = {n: _build(cfg, n, student) for n, cfg in self.cfgs.items() if n in taps}
        for name, teacher in built.items():
            teacher.check_taps(taps[name])
        self.update(built)

    def __call__(
        self, inputs: Tensor, taps: Mapping[str, Sequence[str]], preprocessor: nn.Module
    ) -> dict[str, dict[str, Tensor]]:
        """Run every teacher that is named once.

        Args:
            inputs: Images (N, 3, H, W), normalised for the student.
            taps: Names of the taps to return, by teacher.
            preprocessor: The student's data preprocessor.

        Returns:
            Maps (N, C, H, W) by teacher and tap.
        """
        return {
            name: teacher(inputs, taps[name], preprocessor)
            for name, teacher in self.items()
            if name in taps
        }

    def start(self, student: nn.Module) -> None:
        """Prepare the teachers for training, when the student's weights are loaded."""
        for teacher in self.values():
            teacher.start(student)

    def step(self, student: nn.Module) -> None:
        """Update the teachers after a step of the student's optimizer."""
        for teacher in self.values():
            teacher.step(student)

    def state_dict(self) -> dict[str, dict[str, Any]]:
        """Return the states by name of those teachers that have one."""
        states = {name: teacher.state_dict() for name, teacher in self.items()}
        return {name: state for name, state in states.items() if state}

    def load_state_dict(self, states: Mapping[str, dict[str, Any]]) -> None:
        """Restore the states of a checkpoint.

        Raises:
            KeyError: The state of a teacher is missing.
        """
        for name, teacher in self.items():
            teacher.load_state_dict(states.get(name, {}))


def _build(cfg: dict, name: str, student: nn.Module) -> BaseTeacher:
    cfg = dict(cfg)
    kind = cfg.pop('type', 'Teacher')
    # Registry.build would build the model dict in `config` first.
    cls = TASK_UTILS.get(kind)
    if not (inspect.isclass(cls) and issubclass(cls, BaseTeacher)):
        raise UserError(f"model.teacher: type={kind!r} is no teacher; there is 'EMATeacher'")
    teacher = cls.for_student(student, **cfg)
    if teacher.num_classes != student.num_classes:
        raise UserError(
            f'the teacher ({getattr(teacher, "checkpoint", name)}) has {teacher.num_classes} '
            f'classes, the student {student.num_classes}: give both configs the same num_classes'
        )
    return teacher
