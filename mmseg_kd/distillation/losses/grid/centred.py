"""The base of losses that compare two maps channel by channel on the pixel grid."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from mmseg_kd.distillation.base import KDLoss, resize_map
from mmseg_kd.distillation.losses.void import valid_mask


class CentredLoss(KDLoss):
    """A `KDLoss` of maps with equal channels, from which their mean over the channels is taken.

    Args:
        centre: Subtract from each pixel its mean over the channels. The softmax of logits does not
            depend on it, so that a student need not learn it; features need False.
        ignore_index: Label of void pixels; None keeps every pixel.
        **kwargs: As for `KDLoss`.
    """

    default_stages = 'logits'
    equal_channels = True
    of_classes = True

    def __init__(self, centre: bool = True, ignore_index: int | None = 255, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.centre = centre
        self.ignore_index = ignore_index

    def prepare(
        self, student: Tensor, teacher: Tensor, target: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Resize the teacher to the student, centre both maps, and find the valid pixels.

        Returns:
            The maps, and booleans (N, H, W).
        """
        size = student.shape[2:]
        maps = student, resize_map(teacher, size)
        if self.centre:
            maps = tuple(x - x.mean(dim=1, keepdim=True) for x in maps)
        return *maps, valid_mask(target, size, self.ignore_index, student)
