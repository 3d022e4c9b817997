"""A run's resolved config as flat settings, to hash and compare them."""

import hashlib
import json
import re
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from mmengine.config import Config

from mmseg_kd.nested import nodes

# Keys that change neither weights nor metrics: where a run writes and what it shows.
NOT_COMPARED = ('work_dir', 'resume', 'launcher', 'log_level', 'visualizer', 'vis_backends')
# Keys of data loaders that change how fast a run is, not what it computes.
SPEED = re.compile(r'\w+_dataloader\.(num_workers|persistent_workers|prefetch_factor|pin_memory)')
# The longest description of changed settings, in characters.
LONGEST = 200


def flat_settings(cfg: Config) -> dict[str, Any]:
    """Flatten a config into values by dotted key, in the types of JSON."""
    found: dict[str, Any] = {}
    for key, value in nodes(json.loads(json.dumps(cfg.to_dict(), default=repr))):
        has_items = isinstance(value, dict | list) and value
        if not has_items and not key.startswith('_'):
            found[key] = value
    return without(found, NOT_COMPARED)


def without(settings: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """Return flat settings without some keys and everything below them."""
    left_out = tuple(f'{key}.' for key in keys)
    return {key: value for key, value in settings.items() if not f'{key}.'.startswith(left_out)}


def fingerprint(settings: Mapping[str, Any]) -> str:
    """Return a hash of those flat settings that affect the training."""
    text = json.dumps(_compared(settings), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def changed_keys(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return the keys that affect the training and differ between two flat settings."""
    old, new = _compared(old), _compared(new)
    return [key for key in {**old, **new} if old.get(key, ...) != new.get(key, ...)]


def _compared(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if not SPEED.fullmatch(key)}


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Describe what changed between two flat settings in one line of a bounded length."""
    keys = changed_keys(old, new)
    parts = (f'{key} {old.get(key, "unset")} -> {new.get(key, "unset")}' for key in keys)
    return textwrap.shorten(', '.join(parts), LONGEST, placeholder=' ...')
