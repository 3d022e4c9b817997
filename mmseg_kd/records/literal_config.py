"""The config that a run was trained with, read as data and not run."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmengine import registry as mmengine_registry
from mmengine.config import ConfigDict
from mmengine.registry import Registry
from mmseg import registry as mmseg_registry

from mmseg_kd.errors import UserError


def read_literals(file: str | Path) -> dict[str, Any]:
    """Read the assignments of a config that mmengine wrote out in full.

    Args:
        file: Holds `name=value` of literals and `dict(...)`. Of any other value the source text
            is kept.

    Raises:
        SyntaxError: It is no Python.
        OSError: It cannot be read.
        ValueError: It is no text.
    """
    return _assignments(Path(file).read_text(encoding='utf-8'), ast.unparse)


def parse_buildable(text: str, source: str | Path) -> tuple[ConfigDict, list[str]]:
    """Read a config as literals, to build its parts without running what it says.

    mmengine's registries import and call any dotted name that a `type` holds, so that every
    `type` of the model and of the validation data must be registered.

    Args:
        text: The config, as mmengine writes it out.
        source: Its file, for the error.

    Returns:
        The config, and the source text of the values that are left out because they are code.

    Raises:
        UserError: It is no Python, or a type in it is not registered.
    """
    left_out: list[str] = []

    def leave_out(node: ast.AST) -> Any:
        left_out.append(ast.unparse(node))
        return LEFT_OUT

    try:
        config = _without_left_out(_assignments(text, leave_out))
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise UserError(f'{source}: the config cannot be read ({error})') from error
    left_out += _statements(text)
    loader = config.get('val_dataloader')
    for part in (config.get('model'), loader.get('dataset') if isinstance(loader, dict) else None):
        _check_types(part, source)
    return ConfigDict(config), left_out


LEFT_OUT = object()


def _assignments(text: str, otherwise: Callable[[ast.AST], Any]) -> dict[str, Any]:
    return {
        node.targets[0].id: _value(node.value, otherwise)
        for node in ast.parse(text).body
        if _is_assignment(node)
    }


def _is_assignment(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)


def _statements(text: str) -> list[str]:
    """Return the source text of all that is neither an assignment nor a docstring."""
    return [
        ast.unparse(node)
        for node in ast.parse(text).body
        if not _is_assignment(node)
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    ]


def _value(node: ast.expr, otherwise: Callable[[ast.AST], Any]) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
        found = {}
        for keyword in node.keywords:
            value = _value(keyword.value, otherwise)
            if keyword.arg is not None:
                found[keyword.arg] = value
            elif isinstance(value, dict):
                # mmengine writes keys that are not identifiers as `dict(**{...})`.
                found |= value
        return found
    if isinstance(node, ast.Dict):
        return {
            _value(key, ast.unparse): _value(value, otherwise)
            for key, value in zip(node.keys, node.values, strict=True)
            if key is not None
        }
    if isinstance(node, ast.List):
        return [_value(item, otherwise) for item in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_value(item, otherwise) for item in node.elts)
    try:
        return ast.literal_eval(node)
    except ValueError:
        return otherwise(node)


def _without_left_out(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_left_out(v) for k, v in value.items() if v is not LEFT_OUT}
    if isinstance(value, list | tuple):
        return type(value)(_without_left_out(item) for item in value if item is not LEFT_OUT)
    return value


def _check_types(value: Any, source: str | Path) -> None:
    kind = value.get('type') if isinstance(value, dict) else None
    if isinstance(kind, str) and not _is_registered(kind):
        raise UserError(f'{source}: type {kind!r} is not registered, so it is not built')
    parts = value.values() if isinstance(value, dict) else value
    if isinstance(value, dict | list | tuple):
        for part in parts:
            _check_types(part, source)


def _is_registered(kind: str) -> bool:
    scope, _, name = kind.rpartition('.')
    parents = [
        registry
        for module in (mmseg_registry, mmengine_registry)
        for registry in vars(module).values()
        if isinstance(registry, Registry)
    ]
    registries = [r for parent in parents for r in (parent, *parent.children.values())]
    if any(name in r.module_dict and scope in ('', r.scope) for r in registries):
        return True
    # Configs in mmengine's lazy style name a class by its module.
    known = (cls for registry in registries for cls in registry.module_dict.values())
    return any(kind == f'{cls.__module__}.{cls.__qualname__}' for cls in known)
