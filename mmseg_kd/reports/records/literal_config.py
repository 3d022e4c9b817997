"""The config that a run was trained with, read as data and not run."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any


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
    tree = ast.parse(Path(file).read_text(encoding='utf-8'))
    return {
        node.targets[0].id: _value(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
        return {
            keyword.arg: _value(keyword.value) for keyword in node.keywords if keyword.arg
        } | _merged(node)
    if isinstance(node, ast.Dict):
        return {
            _value(key): _value(value)
            for key, value in zip(node.keys, node.values, strict=True)
            if key is not None
        }
    if isinstance(node, ast.List):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_value(item) for item in node.elts)
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)


def _merged(node: ast.Call) -> dict[str, Any]:
    """Keys that are no identifiers: mmengine writes `dict(**{...})`."""
    parts = [_value(keyword.value) for keyword in node.keywords if keyword.arg is None]
    return {key: value for part in parts if isinstance(part, dict) for key, value in part.items()}
