"""From which files a config inherits."""

from __future__ import annotations

import ast
from contextlib import suppress
from pathlib import Path

from mmseg_kd.errors import UserError


def check_bases(file: Path, chain: tuple[Path, ...] = ()) -> None:
    """Raise UserError where a config inherits from itself, which would be read without end."""
    chain = (*chain, file.resolve())
    for base in _bases(file):
        path = (file.parent / base).resolve()
        if path in chain:
            names = ' -> '.join(f.name for f in (*chain[chain.index(path) :], path))
            raise UserError(f'{file}: _base_ = {base!r} leads back to the file itself: {names}')
        if path.is_file():
            check_bases(path, chain)


def _bases(file: Path) -> list[str]:
    """The names under `_base_`; none where the file is not Python, which reading it reports."""
    try:
        return bases_of(ast.parse(file.read_text(encoding='utf-8-sig')))
    except (SyntaxError, ValueError, OSError):
        return []


def bases_of(tree: ast.Module) -> list[str]:
    """The literal names under `_base_` in the source of a config."""
    values = []
    for node in tree.body:
        targets = getattr(node, 'targets', ())
        if any(isinstance(target, ast.Name) and target.id == '_base_' for target in targets):
            with suppress(ValueError):
                values.append(ast.literal_eval(node.value))
    names = [name for v in values for name in (v if isinstance(v, list | tuple) else [v])]
    return [name for name in names if isinstance(name, str)]
