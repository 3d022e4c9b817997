"""Read the keys that a grid or a search varies, as Optuna's distributions."""

import itertools
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from optuna import distributions

from mmseg_kd.errors import UserError

BOUNDS = {'type', 'low', 'high'}
# The spaces that the messages suggest.
EXAMPLES = {
    'grid': "{'model.kd_losses.kl_loss.temperature': [1, 2, 4]}",
    'search': "{'optim_wrapper.optimizer.lr': dict(type='loguniform', low=1e-5, high=1e-3)}",
}
KINDS = {'uniform': BOUNDS, 'loguniform': BOUNDS, 'int': BOUNDS, 'choice': {'type', 'choices'}}


class Parameter(NamedTuple):
    """One dotted key that varies.

    Attributes:
        key: The dotted key.
        distribution: The values that Optuna draws from.
        spec: The entry in the study's file: a list for a grid, a dict for a search.
        choices: The values of a list or choice. Optuna stores those that are not a number, text,
            bool or None as JSON.
    """

    key: str
    distribution: distributions.BaseDistribution
    spec: Any
    choices: tuple[Any, ...] = ()

    def decode(self, drawn: Any) -> Any:
        """Return the config's value for a value that Optuna drew."""
        known = getattr(self.distribution, 'choices', ())
        # An earlier value of an edited search may be of other choices.
        return self.choices[known.index(drawn)] if drawn in known else drawn

    def examples(self) -> list[Any]:
        """Return values with which to check a config: all choices, or both bounds."""
        return list(self.choices) or [self.distribution.low, self.distribution.high]


def read_space(space: dict, variation: str) -> tuple[Parameter, ...]:
    """Read the lists of a grid, or the space of a search.

    Args:
        space: A list or an entry with a `type` for each dotted key.
        variation: 'grid' or 'search'.

    Raises:
        UserError: The space or a list is empty, a list has a value twice, or an entry has a wrong
            type, an unknown kind or wrong keys.
    """
    where = f'study.{variation}.space'
    if not space:
        raise UserError(f'{where} is empty; write {EXAMPLES[variation]}')
    read = _list if variation == 'grid' else _parameter
    return tuple(read(key, spec, f'{where}[{key!r}]') for key, spec in space.items())


def grid_points(space: Sequence[Parameter]) -> Iterator[dict[str, Any]]:
    """Yield all combinations of a grid; the last key changes first."""
    for values in itertools.product(*(parameter.choices for parameter in space)):
        yield {p.key: value for p, value in zip(space, values, strict=True)}


def _parameter(key: str, spec: Any, where: str) -> Parameter:
    kind = str(spec.get('type')) if isinstance(spec, dict) else None
    if kind not in KINDS or set(spec) != KINDS[kind]:
        keys = ', '.join(sorted(KINDS.get(kind, {'type', '...'})))
        raise UserError(f'{where}: write dict({keys}) with type one of {", ".join(KINDS)}')
    if kind == 'choice':
        return _list(key, spec['choices'], where)._replace(spec=spec)
    low, high = spec['low'], spec['high']
    if not {type(low), type(high)} <= ({int} if kind == 'int' else {int, float}):
        whole = 'whole ' if kind == 'int' else ''
        raise UserError(f'{where}: low={low!r} and high={high!r} are not both {whole}numbers')
    if not low < high or not math.isfinite(high - low):
        raise UserError(f'{where}: low={low!r} is not below high={high!r}, both finite')
    if kind == 'loguniform' and low <= 0:
        raise UserError(f'{where}: low={low!r} has no logarithm; write a number above 0')
    if kind == 'int':
        return Parameter(key, distributions.IntDistribution(low, high), spec)
    numbers = distributions.FloatDistribution(low, high, log=kind == 'loguniform')
    return Parameter(key, numbers, spec)


def _list(key: str, values: Any, where: str) -> Parameter:
    if not isinstance(values, list | tuple) or not values:
        raise UserError(f'{where}: {values!r} is not a list of at least one value')
    plain = bool | int | float | str | None
    stored = [v if isinstance(v, plain) else json.dumps(v, sort_keys=True) for v in values]
    if len({(type(value), value) for value in stored}) < len(stored):
        raise UserError(f'{where}: {values!r} has a value twice')
    return Parameter(key, distributions.CategoricalDistribution(stored), values, tuple(values))
