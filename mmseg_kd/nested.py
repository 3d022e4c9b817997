"""Read nested dicts and lists, for example of a config, by dotted key."""

import re
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config

# What is left of the key of a data set in wrappers.
INNER = re.compile(r'(\.datasets?(\.\d+)?)*')


def nodes(node: Any, where: str = '') -> Iterator[tuple[str, Any]]:
    """Yield the dotted key and value of a node and of everything inside it, outermost first."""
    yield where, node
    items = node.items() if isinstance(node, dict | Config) else ()
    if isinstance(node, list | tuple):
        items = enumerate(node)
    for key, value in items:
        yield from nodes(value, f'{where}.{key}'.lstrip('.'))


def dicts(node: Any, where: str = '') -> Iterator[tuple[str, dict]]:
    """Yield the dotted key and value of each dict among the `nodes`."""
    return ((key, value) for key, value in nodes(node, where) if isinstance(value, dict))


def ending_at(config: Any, iteration: int) -> Iterator[tuple[str, dict]]:
    """Yield key and config of each schedule of the learning rate or of a loss with this `end`."""
    for part in ('param_scheduler', 'model.kd_losses'):
        for key, schedule in dicts(value_at(config, part), part):
            if schedule.get('end') == iteration:
                yield key, schedule


def walk(dataset: Any, where: str = 'dataset') -> Iterator[tuple[str, Any]]:
    """Yield a data set and, at any depth, those that RepeatDataset, ConcatDataset etc. wrap.

    Args:
        dataset: The config of a data set.
        where: Its key in the config.

    Yields:
        Key and config, the outermost first.
    """
    for key, found in dicts(dataset, where):
        if INNER.fullmatch(key.removeprefix(where)):
            yield key, found


def value_at(node: Any, key: str) -> Any:
    """Return the value at a dotted key, or None."""
    for part in key.split('.'):
        if isinstance(node, list | tuple):
            node = node[int(part)] if part.isdecimal() and int(part) < len(node) else None
        else:
            node = node.get(part) if isinstance(node, dict | Config) else None
    return node
