"""Base classes of losses: with a temperature, of class scores, of centred maps."""

from typing import Any

from torch import Tensor

from mmseg_kd.distillation.base import KDLoss
from mmseg_kd.distillation.gradients import share_of
from mmseg_kd.distillation.schedules import Schedule, value_at
from mmseg_kd.errors import UserError


class TemperatureLoss(KDLoss):
    """A `KDLoss` of the logits that divides them by a temperature.

    Args:
        temperature: T, above 0: a number or a schedule.
        **kwargs: As for `KDLoss`.

    Raises:
        ValueError: On a temperature that is neither a number above 0 nor a schedule.
    """

    default_stages = 'logits'

    def __init__(self, temperature: float | dict = 4.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.temperature = self.scheduled('temperature', temperature)
        self.require(
            isinstance(self.temperature, Schedule) or self.temperature > 0,
            f'temperature={temperature!r} is not a number above 0',
        )

    def set_iteration(self, iteration: int) -> None:
        """Set the iteration; errors as in `current_temperature` where the loss has a weight."""
        super().set_iteration(iteration)
        # The replay of a CUDA graph reads the tensor of the temperature without a check.
        if self.weight or share_of(self.loss_weight):
            self.current_temperature()

    def current_temperature(self) -> float | Tensor:
        """Return the temperature of the current iteration.

        Raises:
            UserError: The schedule gives a number that is not above 0.
        """
        temperature = value_at(self.temperature, self.iteration)
        if not temperature > 0:
            raise UserError(
                f'{type(self).__name__}: temperature is {temperature:g} in iteration '
                f'{self.iteration}; write a schedule that stays above 0, e.g. '
                'LinearWarmup(start=0.1) or CosineDecay(stop=0.1)'
            )
        return self.number('temperature')


class ClassLoss(TemperatureLoss):
    """A `TemperatureLoss` of the classes of each pixel: one tap, a channel for each class."""

    one_tap = True
    equal_channels = True
    of_classes = True


class CentredLoss(KDLoss):
    """A `KDLoss` of maps with equal channels that are centred over the channels.

    Args:
        centre: Subtract from each pixel its mean over the channels. The softmax of logits does not
            depend on this mean, so a student need not learn it. Set False for features.
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
