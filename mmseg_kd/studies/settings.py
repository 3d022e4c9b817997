"""A run's resolved config as flat settings: what is hashed, compared and overridden."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from mmengine.config import Config

from mmseg_kd.config.checks import check_config
from mmseg_kd.config.options import check_options
from mmseg_kd.errors import UserError

# Where a run writes and what it shows, which changes neither weights nor metrics.
NOT_COMPARED = ('work_dir', 'resume', 'launcher', 'log_level', 'visualizer', 'vis_backends')
# Dicts without a type whose keys the config's own check knows, so that a new one may be set.
CHECKED = ('train_cfg', 'optim_wrapper', 'model.teacher', 'model.test_cfg')
CHECKED += tuple(f'{split}_dataloader' for split in ('train', 'val', 'test'))
CHECKED += ('optim_wrapper.paramwise_cfg',)
# Of the keys that differ; a line has no room for more.
MOST_SHOWN = 4


def override(cfg: Config, options: Mapping[str, Any], source: str) -> None:
    """Set dotted keys of a config and check the result.

    Args:
        cfg: The config, changed in place.
        options: Values by dotted key.
        source: Where the keys are from, for the message.

    Raises:
        UserError: Nothing reads a key, or a value does not suit it.
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
    node: Any = cfg._cfg_dict
    *parents, last = key.split('.')
    path = ''
    for part in parents:
        node = _step(node, part, path, key, source)
        path = f'{path}.{part}'.lstrip('.')
    if not isinstance(node, dict):
        _step(node, last, path, key, source)
    elif last not in node and 'type' not in node and path not in CHECKED:
        addition = isinstance(value, dict) and 'type' in value
        if not addition:
            _unknown(node, last, path, key, source)


def _step(node: Any, part: str, path: str, key: str, source: str) -> Any:
    if isinstance(node, list | tuple):
        if not part.isdigit() or int(part) >= len(node):
            raise UserError(
                f'{source}: {key}: {path} is a list; write a number below {len(node)}, not {part!r}'
            )
        return node[int(part)]
    if not isinstance(node, dict):
        raise UserError(f'{source}: {key}: {path} is {node!r}, so it has no {part!r}')
    if part not in node:
        _unknown(node, part, path, key, source)
    return node[part]


def _unknown(node: Mapping, part: str, path: str, key: str, source: str) -> None:
    near = difflib.get_close_matches(part, list(node), n=1, cutoff=0.6)
    names = ', '.join(name for name in node if not name.startswith('_'))
    hint = f'did you mean {near[0]!r}?' if near else f'it has {names}'
    raise UserError(f'{source}: unknown key {key}: {path or "the config"} has no {part!r}; {hint}')


def flat_settings(cfg: Config, without: Iterable[str], marks: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten a config into values by dotted key, as JSON would give them back.

    Args:
        cfg: The config.
        without: Dotted keys to leave out, with all below them.
        marks: Values to put in, such as the identity of a teacher in place of its path.
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
    """Hash of flat settings."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What changed between two flat settings, in one line with the first keys."""
    keys = [key for key in {**old, **new} if old.get(key, ...) != new.get(key, ...)]
    parts = [f'{key} {_show(old, key)} -> {_show(new, key)}' for key in keys[:MOST_SHOWN]]
    if len(keys) > MOST_SHOWN:
        parts.append(f'{len(keys) - MOST_SHOWN} more')
    return ', '.join(parts)


def _show(settings: Mapping[str, Any], key: str) -> str:
    text = repr(settings[key]) if key in settings else 'unset'
    return text if len(text) <= 40 else f'{text[:37]}...'
