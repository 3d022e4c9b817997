"""The keys that a grid or a search varies, as Optuna's distributions."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from mmseg_kd.errors import UserError

KINDS = {
    'uniform': {'low', 'high'},
    'loguniform': {'low', 'high'},
    'int': {'low', 'high'},
    'choice': {'choices'},
}


@dataclass(frozen=True)
class Parameter:
    """One dotted key that varies.

    Attributes:
        key: The dotted key.
        distribution: The values that Optuna draws from.
        spec: The entry in the study's file: a list for a grid, a dict for a search.
        choices: The values of a list or choice. Optuna stores those that are not a number, text,
            bool or None as JSON.
    """

    key: str
    distribution: BaseDistribution
    spec: Any
    choices: tuple[Any, ...] = ()

    def decode(self, drawn: Any) -> Any:
        """Return the config's value for a value that Optuna drew."""
        if not self.choices:
            return drawn
        return self.choices[self.distribution.choices.index(drawn)]

    def encode(self, value: Any) -> Any:
        """Return Optuna's value for a value of the config."""
        return _plain(value) if self.choices else value

    def examples(self) -> list[Any]:
        """Return values with which to check a config: all choices, or both bounds."""
        return list(self.choices) or [self.distribution.low, self.distribution.high]


def read_grid(space: Any, where: str) -> tuple[Parameter, ...]:
    """Read the lists of a grid.

    Raises:
        UserError: The space or a list is empty, has a wrong type, or has a value twice.
    """
    _not_empty(space, where, "{'model.kd_losses.kl_loss.temperature': [1, 2, 4]}")
    return tuple(_choice(key, values, values, f'{where}[{key!r}]') for key, values in space.items())


def read_space(space: Any, where: str) -> tuple[Parameter, ...]:
    """Read the space of a search.

    Raises:
        UserError: The space is empty, or an entry has an unknown kind or wrong keys.
    """
    example = "{'optim_wrapper.optimizer.lr': dict(type='loguniform', low=1e-5, high=1e-3)}"
    _not_empty(space, where, example)
    return tuple(_parameter(key, spec, f'{where}[{key!r}]') for key, spec in space.items())


def grid_points(space: Sequence[Parameter]) -> Iterator[dict[str, Any]]:
    """Yield all combinations of a grid; the last key changes first."""
    for values in itertools.product(*(parameter.choices for parameter in space)):
        yield {p.key: value for p, value in zip(space, values, strict=True)}


def _not_empty(space: Any, where: str, example: str) -> None:
    if not isinstance(space, dict) or not space:
        raise UserError(f'{where} is empty or not a dict; write {example}')


def _parameter(key: str, spec: Any, where: str) -> Parameter:
    kind = spec.get('type') if isinstance(spec, dict) else None
    if kind not in KINDS:
        raise UserError(f'{where}: write dict(type=one of {", ".join(KINDS)}, ...), not {spec!r}')
    if set(spec) != KINDS[kind] | {'type'}:
        raise UserError(f'{where}: {kind!r} has {" and ".join(sorted(KINDS[kind]))}, not {spec!r}')
    if kind == 'choice':
        return _choice(key, spec['choices'], spec, where)
    low, high = spec['low'], spec['high']
    numbers = int if kind == 'int' else int | float
    if any(not isinstance(x, numbers) or isinstance(x, bool) for x in (low, high)):
        whole = 'whole ' if kind == 'int' else ''
        raise UserError(f'{where}: low={low!r} and high={high!r} are not both {whole}numbers')
    if not math.isfinite(high - low):
        raise UserError(f'{where}: low={low!r} and high={high!r} are not both finite')
    if not low < high:
        raise UserError(f'{where}: low={low!r} is not below high={high!r}')
    if kind == 'loguniform' and low <= 0:
        raise UserError(f'{where}: low={low!r} has no logarithm; write a number above 0')
    if kind == 'int':
        return Parameter(key, IntDistribution(low, high), spec)
    return Parameter(key, FloatDistribution(low, high, log=kind == 'loguniform'), spec)


def _choice(key: str, values: Any, spec: Any, where: str) -> Parameter:
    if not isinstance(values, list | tuple) or not values:
        raise UserError(f'{where}: {values!r} is not a list of at least one value')
    held = [_plain(value) for value in values]
    if len({(type(value), value) for value in held}) < len(held):
        raise UserError(f'{where}: {values!r} has a value twice')
    return Parameter(key, CategoricalDistribution(held), spec, tuple(values))


def _plain(value: Any) -> Any:
    simple = value is None or isinstance(value, bool | int | float | str)
    return value if simple else json.dumps(value, sort_keys=True)
