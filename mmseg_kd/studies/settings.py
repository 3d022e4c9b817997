"""A run's resolved config as flat settings, to override, hash and compare them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from mmengine.config import Config

from mmseg_kd.config.checks import check_config
from mmseg_kd.config.options import check_options
from mmseg_kd.engine.training_length import WARM_UP_SHARE
from mmseg_kd.errors import UserError, did_you_mean

# Keys that change neither weights nor metrics: where a run writes and what it shows.
NOT_COMPARED = ('work_dir', 'resume', 'launcher', 'log_level', 'visualizer', 'vis_backends')
# Keys of data loaders that change how fast a run is, not what it computes.
SPEED = re.compile(r'\w+_dataloader\.(num_workers|persistent_workers|prefetch_factor|pin_memory)')
# Dicts without a type whose keys `check_config` knows, so that a new key may be set.
CHECKED = ('train_cfg', 'optim_wrapper', 'model.teacher', 'model.test_cfg')
CHECKED += tuple(f'{split}_dataloader' for split in ('train', 'val', 'test'))
CHECKED += ('optim_wrapper.paramwise_cfg',)
# Number of differing keys in a message.
MOST_SHOWN = 4


def override(cfg: Config, options: Mapping[str, Any], source: str) -> None:
    """Set dotted keys of a config and check the result.

    Args:
        cfg: The config, changed in place.
        options: Values by dotted key.
        source: File and part of it that the keys come from, for the message.

    Raises:
        UserError: A key is unknown, or its value is wrong.
    """
    try:
        check_options(dict(options), cfg)
    except UserError as error:
        raise UserError(f'{source}: {str(error).removeprefix("--cfg-options ")}') from error
    for key, value in options.items():
        check_key(cfg, key, value, source)
        cfg.merge_from_dict({key: value})
    try:
        check_config(cfg, cfg.filename)
    except UserError as error:
        raise UserError(f'{source}: {error}') from error


def check_key(cfg: Config, key: str, value: Any, source: str) -> None:
    """Raise UserError for a dotted key that is neither in the config nor may be added to it."""
    node: Any = dict(cfg.items())
    path = ''
    for part in key.split('.'):
        following = f'{path}.{part}'.lstrip('.')
        if isinstance(node, list | tuple):
            if not part.isdigit() or int(part) >= len(node):
                below = f'write a number below {len(node)}, not {part!r}'
                raise UserError(f'{source}: {key}: {path} is a list; {below}')
            node = node[int(part)]
        elif not isinstance(node, dict):
            raise UserError(f'{source}: {key}: {path} is {node!r}, so it has no {part!r}')
        elif part in node:
            node = node[part]
        elif following == key and _may_be_added(node, path, value):
            return
        else:
            names = ', '.join(name for name in node if not name.startswith('_'))
            hint = did_you_mean(part, node, f'it has {names}')
            where = path or 'the config'
            raise UserError(f'{source}: unknown key {key}: {where} has no {part!r}; {hint}')
        path = following


def _may_be_added(node: Mapping, path: str, value: Any) -> bool:
    """Return whether `check_config` checks a new key at this place."""
    return 'type' in node or path in CHECKED or (isinstance(value, dict) and 'type' in value)


def flat_settings(cfg: Config, without: Iterable[str], marks: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten a config into values by dotted key, in the types of JSON.

    Args:
        cfg: The config.
        without: Dotted keys to leave out, with everything below them.
        marks: Values to add, such as a teacher's name and fingerprint instead of its path.
    """
    without = (*NOT_COMPARED, *without, *marks)
    found: dict[str, Any] = {}
    _flatten(json.loads(json.dumps(cfg.to_dict(), default=repr)), '', without, found)
    return {**found, **marks}


def _flatten(node: Any, path: str, without: tuple[str, ...], found: dict[str, Any]) -> None:
    if path in without or (path.startswith('_') and '.' not in path):
        return
    if isinstance(node, dict | list) and node:
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            _flatten(value, f'{path}.{key}'.lstrip('.'), without, found)
    else:
        found[path] = node


def fingerprint(settings: Mapping[str, Any]) -> str:
    """Return a hash of flat settings."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def changed_keys(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return the keys in which two flat settings differ, without those that train the same."""
    old, new = _compared(old), _compared(new)
    return [key for key in {**old, **new} if old.get(key, ...) != new.get(key, ...)]


def _compared(settings: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: settings[key] for key in settings if not SPEED.fullmatch(key)}
    length = settings.get('train_cfg.max_iters')
    warm_up = settings.get('param_scheduler.0.end', 0)
    if not isinstance(length, int) or warm_up > max(length // WARM_UP_SHARE, 1):
        # A longer warm-up is cut short where a later `end` is left out, but kept otherwise.
        return found
    for key in settings:
        scheduler, _, last = key.rpartition('.')
        if scheduler.startswith('param_scheduler.') and last == 'by_epoch' and not settings[key]:
            begin = settings.get(f'{scheduler}.begin', 0)
            found.setdefault(f'{scheduler}.end', max(length, begin + 1))
    return found


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Describe in one line what changed between two flat settings, with the first keys."""
    keys = changed_keys(old, new)
    parts = [f'{key} {_show(old, key)} -> {_show(new, key)}' for key in keys[:MOST_SHOWN]]
    if len(keys) > MOST_SHOWN:
        parts.append(f'{len(keys) - MOST_SHOWN} more')
    return ', '.join(parts)


def _show(settings: Mapping[str, Any], key: str) -> str:
    text = repr(settings[key]) if key in settings else 'unset'
    return text if len(text) <= 40 else f'{text[:37]}...'
