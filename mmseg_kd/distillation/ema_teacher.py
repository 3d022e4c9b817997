"""A teacher that needs no file: the student's own average."""

from __future__ import annotations

from typing import Any

import torch
from mmseg.registry import TASK_UTILS
from torch import Tensor, nn

from mmseg_kd.distillation.teacher import BaseTeacher
from mmseg_kd.errors import UserError


@TASK_UTILS.register_module()
class EMATeacher(BaseTeacher):
    """The exponential moving average of the student's weights and BN statistics.

    Tarvainen and Valpola, Mean teachers are better role models, NeurIPS 2017,
    https://arxiv.org/abs/1703.01780. After every step of the optimizer

        average = m * average + (1 - m) * student,  m = min(momentum, 1 - 1 / (updates + 1))

    so that the first steps do not linger. Like every teacher it runs in eval mode and
    without gradients. It is kept in the checkpoints that can be resumed, beside the student.

    Args:
        average: A copy of the student, whose weights become the average.
        momentum: m in the long run, at least 0 and below 1.
        dtype: As for `Teacher`.

    Raises:
        UserError: The momentum is outside [0, 1), or the dtype unknown.
    """

    def __init__(
        self, average: nn.Module, momentum: float = 0.999, dtype: str | None = None
    ) -> None:
        if not isinstance(momentum, int | float) or not 0 <= momentum < 1:
            raise UserError(f'model.teacher.momentum: {momentum!r} is not in [0, 1)')
        super().__init__(average, dtype)
        self.momentum = momentum
        self.updates = 0

    @property
    def source(self) -> str:
        """The student."""
        return f'average of the student, momentum {self.momentum:g}'

    def start(self, student: nn.Module) -> None:
        """Take the student's weights as they are, before its first step."""
        self.segmentor.load_state_dict(student.state_dict())

    @torch.no_grad()
    def update(self, student: nn.Module) -> None:
        """Take the student's present weights into the average."""
        self.updates += 1
        own, new = self.segmentor.state_dict(), student.state_dict()
        if next(iter(own.values())).device != next(iter(new.values())).device:
            self.to(next(iter(new.values())).device)
            own = self.segmentor.state_dict()
        floats = [key for key, value in own.items() if value.is_floating_point()]
        rest = 1 - min(self.momentum, 1 - 1 / (self.updates + 1))
        torch._foreach_lerp_([own[key] for key in floats], [new[key] for key in floats], rest)
        for key in own.keys() - set(floats):
            own[key].copy_(new[key])

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint has to keep."""
        return {'updates': self.updates, 'average': self.segmentor.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.updates = state['updates']
        average: dict[str, Tensor] = state['average']
        self.segmentor.load_state_dict(average)
