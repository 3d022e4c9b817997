"""Controls: maps that replace the teacher's, to measure how much the teacher contributes.

`control='other_image'`  The teacher's maps of another image, the one before it in the batch. A gain
                         that remains does not come from the teacher's knowledge of the image.
`control='labels'`       Log-probabilities of the smoothed labels, in losses that read only the
                         logits. A gain that remains comes from the labels, not from the teacher.
"""

import torch
from torch import Tensor

from mmseg_kd.distillation.maps import class_masks, resize_labels
from mmseg_kd.errors import UserError

CONTROLS = (None, 'other_image', 'labels')
# The probability that the smoothed labels spread over all classes.
SMOOTHING = 0.1


def controlled(
    control: str | None, student: list[Tensor], teacher: list[Tensor], target: Tensor | None
) -> list[Tensor]:
    """Return the maps that a control puts in place of the teacher's, or the teacher's own.

    Args:
        control: One of `CONTROLS`.
        student: The student's maps (N, C, H, W).
        teacher: The teacher's maps (N, C', H', W').
        target: Labels (N, H'', W''), for 'labels'.

    Raises:
        UserError: The batch has one image, or labels or a channel for each class are missing.
    """
    if control == 'other_image':
        if len(teacher[0]) == 1:
            raise UserError(
                "control='other_image' needs another image in the batch, which has one per "
                'process: write a larger train_dataloader.batch_size, or drop_last=True'
            )
        return [x.roll(1, dims=0) for x in teacher]
    if control == 'labels':
        classes = student[0].shape[1]
        if target is None or classes == 1:
            missing = 'labels' if target is None else 'a channel for each class'
            raise UserError(f"control='labels' puts labels in the teacher's place: give {missing}")
        return [label_logits(target, classes, x) for x in teacher]
    return teacher


def label_logits(target: Tensor, classes: int, like: Tensor) -> Tensor:
    """Return log-probabilities (N, classes, H, W) of smoothed labels at the size of a map.

    Void pixels, whose label is none of the classes, have equal probabilities.

    Args:
        target: Labels (N, H', W').
        classes: Number of classes.
        like: The map.

    Example:
        >>> target = torch.tensor([[[1, 255]]])
        >>> label_logits(target, 2, torch.zeros(1, 5, 1, 2)).exp()
        tensor([[[[0.0500, 0.5000]],
        <BLANKLINE>
                 [[0.9500, 0.5000]]]])
    """
    hot = class_masks(resize_labels(target, like.shape[2:]), classes)
    hot = hot.to(torch.promote_types(like.dtype, torch.float32))
    # Where no class is hot, the softmax of equal numbers is uniform.
    return ((1 - SMOOTHING) * hot + SMOOTHING / classes).log().log_softmax(dim=1)
