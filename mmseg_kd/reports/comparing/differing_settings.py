"""Finds the settings in which runs differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# Other parts repeat these settings or do not change the training.
PARTS = (
    'model', 'train_dataloader', 'optim_wrapper', 'param_scheduler', 'train_cfg',
    'val_dataloader', 'val_evaluator', 'load_from', 'custom_hooks', 'env_cfg',
)  # fmt: skip
LONGEST = 90


class _Missing:
    def __repr__(self) -> str:
        return '–'  # noqa: RUF001


MISSING = _Missing()


def differing_settings(configs: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Find the settings that differ.

    Args:
        configs: A config for each run.

    Returns:
        A text for each run, by dotted key. A dict with a `type` that some runs do not have counts
        as one setting.
    """
    found: dict[str, list[str]] = {}
    for part in PARTS:
        values = [config.get(part, MISSING) for config in configs]
        found.update(
            (key, [setting_text(value) for value in row]) for key, row in _differ(part, values)
        )
    return found


def _differ(key: str, values: list[Any]) -> Iterator[tuple[str, list[Any]]]:
    # None and a missing part are the same.
    values = [MISSING if value is None else value for value in values]
    if all(value == values[0] for value in values):
        return
    children = _children(values)
    if children is None:
        yield key, values
        return
    names = list(dict.fromkeys(name for child in children for name in child))
    for name in names:
        yield from _differ(f'{key}.{name}', [child.get(name, MISSING) for child in children])


def _children(values: list[Any]) -> list[Mapping] | None:
    """Return the parts of the values if all can be compared part by part, else None."""
    there = [value for value in values if value is not MISSING]
    if all(isinstance(value, Mapping) for value in there):
        types = {str(value.get('type')) for value in there}
        if len(there) < len(values) and types != {'None'}:
            return None
        if len(types) > 1 and not any('backbone' in value for value in there):
            return None
        return [value if isinstance(value, Mapping) else {} for value in values]
    if all(isinstance(v, list) and len(v) == len(values[0]) for v in values) and any(
        isinstance(item, Mapping) for item in values[0]
    ):
        return [dict(enumerate(value)) for value in values]
    return None


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """Shorten dotted keys to their last parts, as many as keep them distinct."""
    for parts in range(1, 10):
        short = {key: '.'.join(key.split('.')[-parts:]) for key in keys}
        if len(set(short.values())) == len(short):
            return short
    return {key: key for key in keys}


def setting_text(value: Any) -> str:
    """Format a setting as in a config, a dict with a type as a call."""
    text = _text(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + '…'


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        inner = ', '.join(f'{k}={_text(v)}' for k, v in value.items() if k != 'type')
        return f'{value["type"]}({inner})' if 'type' in value else f'dict({inner})'
    if isinstance(value, list):
        return f'[{", ".join(map(_text, value))}]'
    return f'{value:g}' if isinstance(value, float) else str(value)
