"""A teacher without a file: the moving average of the student."""

from __future__ import annotations

import copy
from typing import Any

import torch
from mmseg.registry import TASK_UTILS
from torch import nn

from mmseg_kd.distillation.teachers import BaseTeacher
from mmseg_kd.errors import UserError


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
        self.updates = 0

    @property
    def source(self) -> str:
        """The student."""
        return f'average of the student, momentum {self.momentum:g}'

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
        """Return what a checkpoint has to keep."""
        return {'updates': self.updates, 'average': self.segmentor.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.updates = state['updates']
        self.segmentor.load_state_dict(state['average'])
