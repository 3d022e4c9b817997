"""Schedules of weights and temperatures.

A schedule is a pure function of the iteration, so a resumed run continues exactly. `value` is a
number or another schedule, so schedules can be combined:

    loss_weight=dict(
        type='LinearWarmup', end=1500,
        value=dict(type='CosineDecay', value=3.0, begin=20000, end=40000),
    )
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmseg.registry import TASK_UTILS


@dataclass
class Schedule(ABC):
    """A number by iteration: `value` times a factor.

    Args:
        value: The number where the factor is 1, or another schedule, as an object or a dict.

    Raises:
        ValueError: The value is neither a finite number nor a schedule, or a factor is negative.
    """

    value: float | dict | Schedule

    def __post_init__(self) -> None:
        self.value = scheduled(self.value)
        for name in ('start', 'stop', 'gamma'):
            if not (factor := getattr(self, name, 0)) >= 0:
                raise ValueError(f'{type(self).__name__}: {name}={factor} must be at least 0')

    def at(self, iteration: int) -> float:
        """Return the number in the given iteration, counted from 0."""
        return self.factor(iteration) * value_at(self.value, iteration)

    @abstractmethod
    def factor(self, iteration: int) -> float:
        """Return the factor of the value in an iteration."""


@dataclass
class _Ramp(Schedule):
    """A schedule that changes between two iterations.

    Raises:
        ValueError: `end` is not after `begin`, or `begin` is negative.
    """

    end: int
    begin: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.begin < self.end:
            raise ValueError(
                f'{type(self).__name__}: end={self.end} must be after begin={self.begin}, and '
                'begin at least 0'
            )

    def progress(self, iteration: int) -> float:
        """Return 0 up to `begin`, 1 from `end` on, and a number between them in proportion."""
        return min(max((iteration - self.begin) / (self.end - self.begin), 0.0), 1.0)


@TASK_UTILS.register_module()
@dataclass
class LinearWarmup(_Ramp):
    """Rise in a straight line from `start` times the value to the value.

    Args:
        value: See `Schedule`.
        end: Iteration from which on it is the value.
        begin: Iteration up to which it is `start` times the value.
        start: Factor at the beginning.
    """

    start: float = 0.0

    def factor(self, iteration: int) -> float:
        """Return a number between `start` and 1."""
        return self.start + (1 - self.start) * self.progress(iteration)


@TASK_UTILS.register_module()
@dataclass
class CosineDecay(_Ramp):
    """Fall along half a cosine from the value to `stop` times the value.

    Args:
        value: See `Schedule`.
        end: Iteration from which on it is `stop` times the value.
        begin: Iteration up to which it is the value.
        stop: Factor at the end.
    """

    stop: float = 0.0

    def factor(self, iteration: int) -> float:
        """Return a number between 1 and `stop`."""
        return self.stop + (1 - self.stop) * (1 + math.cos(math.pi * self.progress(iteration))) / 2


@TASK_UTILS.register_module()
class LinearDecay(CosineDecay):
    """Fall in a straight line from the value to `stop` times it; arguments as `CosineDecay`.

    The early decay of SegDistill: `begin` in the middle of training, `end` before its end.
    """

    def factor(self, iteration: int) -> float:
        """Return a number between 1 and `stop`."""
        return 1 + (self.stop - 1) * self.progress(iteration)


@TASK_UTILS.register_module()
@dataclass
class Stop(Schedule):
    """Keep the value until an iteration; from then on return 0.

    The loss is not computed then, unless it has an adapter.

    Args:
        value: See `Schedule`.
        at_iter: First iteration of 0.
    """

    at_iter: int

    def factor(self, iteration: int) -> float:
        """Return 1, or 0."""
        return float(iteration < self.at_iter)


@TASK_UTILS.register_module()
@dataclass
class Milestones(Schedule):
    """Multiply the value by `gamma` at each milestone.

    Args:
        value: See `Schedule`.
        milestones: Iterations, ascending.
        gamma: Factor.

    Raises:
        ValueError: The milestones do not ascend.
    """

    milestones: Sequence[int]
    gamma: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f'Milestones: milestones={self.milestones} do not ascend')

    def factor(self, iteration: int) -> float:
        """Return `gamma` to the power of the milestones that have passed."""
        return self.gamma ** bisect_right(self.milestones, iteration)


def scheduled(value: Any) -> float | Schedule:
    """Build a number or a schedule from a config value.

    Raises:
        ValueError: It is neither.

    Example:
        >>> scheduled(dict(type='LinearWarmup', value=3.0, end=100)).at(50)
        1.5
    """
    if isinstance(value, dict) and 'type' in value:
        value = TASK_UTILS.build(value)
        # A wrong iteration, such as a text, is an error now.
        value_at(value, 0)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not isinstance(value, Schedule) and not (number and math.isfinite(value)):
        raise ValueError(f'{value!r} is neither a number nor a schedule')
    return value


def value_at(value: float | Schedule, iteration: int) -> float:
    """Return a number or a schedule's number in an iteration."""
    return value.at(iteration) if isinstance(value, Schedule) else value


def unnested(value: Any) -> list[Any]:
    """Return a value, the schedules that it contains from outside in, and last the number.

    A schedule may be a dict of a config, whose number is None if it has none.
    """
    chain = [value]
    while isinstance(chain[-1], Schedule | Mapping):
        own = chain[-1]
        chain.append(own.get('value') if isinstance(own, Mapping) else own.value)
    return chain
