"""The config of a run, read as data without running it."""

import ast
import re
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

from mmengine.config import ConfigDict

from mmseg_kd.errors import UserError, user_errors
from mmseg_kd.nested import dicts, value_at
from mmseg_kd.registry import registered_types

# Marks a value that was code and is left out.
LEFT_OUT = object()
# Who builds a teacher does so under `only_registered`; losses, which may be the user's own, are not
# built.
NOT_BUILT = re.compile(r'model\.(teacher|kd_losses)\b')


def parse_literals(text: str, code: Callable[[ast.AST], Any] = ast.unparse) -> dict[str, Any]:
    """Read the assignments of a config that mmengine wrote out in full.

    Args:
        text: Assignments `name=value`, where a value consists of literals and `dict(...)`.
        code: Returns what replaces any other value; by default its source text.

    Raises:
        ValueError: It is not Python.
    """
    found = {}
    try:
        for node in ast.parse(text).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                found[node.targets[0].id] = _value(node.value, code)
            elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
                code(node)
    # A damaged config may be nested too deeply or be too long.
    except (SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError(getattr(error, 'msg', None) or error) from error
    return _kept(found)


def parse_buildable(text: str, source: str | Path) -> tuple[ConfigDict, list[str]]:
    """Read a config as literals, so that its parts can be built without running its code.

    mmengine's registries import and call any dotted name in a `type`, so every `type` of the
    plain model and of the data for validation and test must be registered.

    Args:
        text: The config, as mmengine writes it out.
        source: Its file, for the error.

    Returns:
        The config, and the source text of the code that is left out.

    Raises:
        UserError: It is not Python, or a type in it is not registered.
    """
    left_out: list[str] = []

    def leave_out(node: ast.AST) -> object:
        left_out.append(ast.unparse(node))
        return LEFT_OUT

    with user_errors(f'{source}: the config cannot be read (', ValueError, after=')'):
        config = parse_literals(text, leave_out)
    known = registered_types()
    built = ('model', 'val_dataloader.dataset', 'test_dataloader.dataset')
    for key, node in chain.from_iterable(dicts(value_at(config, part), part) for part in built):
        kind = node.get('type')
        if isinstance(kind, str) and kind not in known and not NOT_BUILT.match(key):
            raise UserError(f'{source}: type {kind!r} is not registered, so it is not built')
    return ConfigDict(config), left_out


def _value(node: ast.expr, code: Callable[[ast.AST], Any]) -> Any:
    """Return the value of a node, in which `code` replaces each part that is not a literal."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
        names = [word.arg and ast.Constant(word.arg) for word in node.keywords]
        node = ast.Dict(names, [word.value for word in node.keywords])
    if isinstance(node, ast.Dict):
        found = {}
        for key, item in zip(node.keys, node.values, strict=True):
            value = _value(item, code)
            if key is not None:
                found[_value(key, ast.unparse)] = value
            elif isinstance(value, dict):
                # mmengine writes keys that are not identifiers as `dict(**{...})`.
                found |= value
        return _kept(found)
    if isinstance(node, ast.List | ast.Tuple):
        items = [value for item in node.elts if (value := _value(item, code)) is not LEFT_OUT]
        return items if isinstance(node, ast.List) else tuple(items)
    try:
        return ast.literal_eval(node)
    except ValueError:
        return code(node)


def _kept(found: dict[Any, Any]) -> dict[Any, Any]:
    return {key: value for key, value in found.items() if value is not LEFT_OUT}
