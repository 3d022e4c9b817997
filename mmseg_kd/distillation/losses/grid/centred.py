"""The base of losses that compare two maps channel by channel on the pixel grid."""

from typing import Any

from torch import Tensor

from mmseg_kd.distillation.base import KDLoss


class CentredLoss(KDLoss):
    """A `KDLoss` of maps with equal channels, from which their mean over the channels is taken.

    Args:
        centre: Subtract from each pixel its mean over the channels. The softmax of logits does not
            depend on it, so that a student need not learn it; features need False.
        **kwargs: As for `KDLoss`.
    """

    default_stages = 'logits'
    equal_channels = True
    of_classes = True

    def __init__(self, centre: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.centre = centre

    def centred(self, x: Tensor) -> Tensor:
        """Subtract from each pixel of a map (N, C, H, W) its mean over the channels."""
        return x - x.mean(dim=1, keepdim=True) if self.centre else x
