"""Every loss computed once before training."""

from __future__ import annotations

import torch
from torch import nn

from mmseg_kd.distillation.distillation_losses import DistillationLosses
from mmseg_kd.distillation.taps import record_taps
from mmseg_kd.distillation.teachers import Teachers
from mmseg_kd.errors import UserError

# Size of the blank image where the config has none: its map at stride 32 is 4x4.
BLANK_SIZE = (128, 128)


@torch.no_grad()
def try_losses(student: nn.Module, losses: DistillationLosses, teachers: Teachers) -> None:
    """Compute every loss once on a blank image, to report maps that do not fit before training.

    The student runs in training mode, in which some heads return other outputs than in testing.
    Its buffers and the random stream stay as they were.

    Raises:
        UserError: A loss cannot compare its taps.
    """
    device = next(student.parameters()).device
    size = getattr(student.data_preprocessor, 'size', None) or BLANK_SIZE
    images = torch.zeros(2, 3, *size, device=device)
    training, buffers = student.training, [buffer.clone() for buffer in student.buffers()]
    names = ['logits', *(name for loss in losses.values() for name in loss.stages)]
    student.train()
    try:
        with torch.random.fork_rng([device] if device.type == 'cuda' else []):
            with record_taps(student, names) as taps:
                student(images, mode='tensor')
            needed = losses.teacher_taps(losses.values())
            teacher_taps = teachers(images, needed, student.data_preprocessor)
            for loss in losses.values():
                losses.raw_loss(loss, taps, teacher_taps)
    except ValueError as error:
        raise UserError(f'model.kd_losses: {error}') from error
    finally:
        student.train(training)
        for buffer, before in zip(student.buffers(), buffers, strict=True):
            buffer.copy_(before)
