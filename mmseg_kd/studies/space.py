"""The keys that a grid or a search varies, as Optuna's distributions."""

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

BOUNDS = {'type', 'low', 'high'}
KINDS = {'uniform': BOUNDS, 'loguniform': BOUNDS, 'int': BOUNDS, 'choice': {'type', 'choices'}}


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
        return self.choices[self.distribution.choices.index(drawn)] if self.choices else drawn

    def examples(self) -> list[Any]:
        """Return values with which to check a config: all choices, or both bounds."""
        return list(self.choices) or [self.distribution.low, self.distribution.high]


def read_grid(space: dict, where: str) -> tuple[Parameter, ...]:
    """Read the lists of a grid.

    Raises:
        UserError: The space or a list is empty, has a wrong type, or has a value twice.
    """
    _not_empty(space, where, "{'model.kd_losses.kl_loss.temperature': [1, 2, 4]}")
    return tuple(_choice(key, values, values, f'{where}[{key!r}]') for key, values in space.items())


def read_space(space: dict, where: str) -> tuple[Parameter, ...]:
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


def _not_empty(space: dict, where: str, example: str) -> None:
    if not space:
        raise UserError(f'{where} is empty; write {example}')


def _parameter(key: str, spec: Any, where: str) -> Parameter:
    kind = spec.get('type') if isinstance(spec, dict) else None
    if kind not in KINDS or set(spec) != KINDS[kind]:
        keys = ', '.join(sorted(KINDS.get(kind, {'type', '...'})))
        raise UserError(f'{where}: write dict({keys}) with type one of {", ".join(KINDS)}')
    if kind == 'choice':
        return _choice(key, spec['choices'], spec, where)
    low, high = spec['low'], spec['high']
    if not {type(low), type(high)} <= ({int} if kind == 'int' else {int, float}):
        whole = 'whole ' if kind == 'int' else ''
        raise UserError(f'{where}: low={low!r} and high={high!r} are not both {whole}numbers')
    if not low < high or not math.isfinite(high - low):
        raise UserError(f'{where}: low={low!r} is not below high={high!r}, both finite')
    if kind == 'loguniform' and low <= 0:
        raise UserError(f'{where}: low={low!r} has no logarithm; write a number above 0')
    if kind == 'int':
        return Parameter(key, IntDistribution(low, high), spec)
    return Parameter(key, FloatDistribution(low, high, log=kind == 'loguniform'), spec)


def _choice(key: str, values: Any, spec: Any, where: str) -> Parameter:
    if not isinstance(values, list | tuple) or not values:
        raise UserError(f'{where}: {values!r} is not a list of at least one value')
    plain = bool | int | float | str | None
    stored = [v if isinstance(v, plain) else json.dumps(v, sort_keys=True) for v in values]
    if len({(type(value), value) for value in stored}) < len(stored):
        raise UserError(f'{where}: {values!r} has a value twice')
    return Parameter(key, CategoricalDistribution(stored), spec, tuple(values))
