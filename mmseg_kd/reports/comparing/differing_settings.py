"""Finds the settings in which runs differ."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmseg_kd.records.message import NONE

# Other parts of a config repeat these settings or do not change the training.
PARTS = (
    'model', 'train_dataloader', 'optim_wrapper', 'param_scheduler', 'train_cfg',
    'val_dataloader', 'val_evaluator', 'test_dataloader', 'test_evaluator', 'load_from',
    'custom_hooks', 'env_cfg',
)  # fmt: skip
# Characters of a text.
LONGEST = 90


def differing_settings(configs: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Find the settings that differ.

    Args:
        configs: A config for each run.

    Returns:
        A text for each run, by dotted key. A dict with a `type` that some runs do not have counts
        as one setting.
    """
    found = (_differ(part, [config.get(part) for config in configs]) for part in PARTS)
    return {key: list(map(setting_text, row)) for key, row in itertools.chain(*found)}


def _differ(key: str, values: list[Any]) -> Iterator[tuple[str, list[Any]]]:
    # None and a missing part are the same.
    if all(value == values[0] for value in values):
        return
    parts = _parts(values)
    if parts is None:
        yield key, [NONE if value is None else value for value in values]
        return
    for name in dict.fromkeys(name for part in parts for name in part):
        yield from _differ(f'{key}.{name}', [part.get(name) for part in parts])


def _parts(values: list[Any]) -> list[Mapping] | None:
    """Return the parts of the values if all can be compared part by part, else None."""
    there = [value for value in values if value is not None]
    if all(isinstance(value, Mapping) for value in there):
        types = {str(value.get('type')) for value in there}
        same = types == {'None'} if len(there) < len(values) else len(types) == 1
        # Models are compared part by part, regardless of their types.
        models = len(there) == len(values) and any('backbone' in value for value in there)
        return [value or {} for value in values] if same or models else None
    lists = all(isinstance(value, list) and len(value) == len(values[0]) for value in values)
    if lists and any(isinstance(item, Mapping) for item in values[0]):
        return [dict(enumerate(value)) for value in values]
    return None


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """Shorten dotted keys to their last parts, two or as many as keep them distinct."""
    lengths = itertools.count(2)
    short = ({key: '.'.join(key.split('.')[-parts:]) for key in keys} for parts in lengths)
    return next(names for names in short if len(set(names.values())) == len(set(keys)))


def setting_text(value: Any) -> str:
    """Format a setting as in a config, a dict with a type as a call; a long list is cut off."""
    if isinstance(value, Mapping):
        # What differs may be at the end of a loss, which is not cut off.
        inner = ', '.join(f'{k}={setting_text(v)}' for k, v in value.items() if k != 'type')
        return f'{value["type"]}({inner})' if 'type' in value else f'dict({inner})'
    text = f'{value:g}' if isinstance(value, float) else str(value)
    if isinstance(value, list):
        text = f'[{", ".join(map(setting_text, value))}]'
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + '…'
