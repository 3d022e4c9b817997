"""The temperature of a loss: a number or a schedule, and above 0."""

from __future__ import annotations

from torch import Tensor

from mmseg_kd.distillation.base import KDLoss
from mmseg_kd.distillation.gradient_share import share_of
from mmseg_kd.distillation.schedules import Schedule, scheduled, value_at
from mmseg_kd.errors import UserError


def temperature_of(loss: KDLoss, temperature: float | dict) -> float | Schedule:
    """Check a loss' temperature, a number above 0 or a schedule.

    Raises:
        ValueError: It is neither.
    """
    name = type(loss).__name__
    try:
        temperature = scheduled(temperature)
    except ValueError as error:
        raise ValueError(f'{name}: temperature={error}') from error
    if share_of(temperature):
        raise ValueError(f'{name}: temperature: GradientShare is for weights')
    if not isinstance(temperature, Schedule) and not temperature > 0:
        raise ValueError(f'{name}: temperature={temperature!r} is no number above 0')
    return temperature


def current_temperature(loss: KDLoss) -> float | Tensor:
    """Return a loss' temperature in its current iteration.

    Raises:
        UserError: Its schedule has left the numbers above 0.
    """
    temperature = value_at(loss.temperature, loss.iteration)
    if not temperature > 0:
        raise UserError(
            f'{type(loss).__name__}: temperature is {temperature:g} in iteration '
            f'{loss.iteration}; write a schedule that stays above 0, e.g. '
            'LinearWarmup(start=0.1) or CosineDecay(stop=0.1)'
        )
    return loss.number('temperature')
