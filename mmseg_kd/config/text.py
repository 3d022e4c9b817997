"""Read a config file, and those that it inherits from, as editors and shells write them."""

from __future__ import annotations

import ast
from pathlib import Path

from mmengine.config import Config

from mmseg_kd.compat import read_configs_with_byte_order_marks
from mmseg_kd.config.errors import reading_errors
from mmseg_kd.errors import UserError

read_configs_with_byte_order_marks()


def read_config(path: str | Path) -> Config:
    """Read a config file and those that it inherits from.

    Raises:
        UserError: One of the files is not UTF-8 text or not valid Python, inherits from itself,
            or its code fails; with its name and line.
    """
    check_text(Path(path))
    with reading_errors(path):
        return Config.fromfile(path, format_python_code=False)


def check_text(file: Path, chain: tuple[Path, ...] = ()) -> None:
    """Check that a config, and all that it inherits from, can be parsed.

    mmengine names neither an inherited file nor, for some mistakes, the file itself.

    Args:
        file: The config.
        chain: The files that inherit from it.

    Raises:
        UserError: A file is not UTF-8 text or not valid Python, or inherits from itself.
    """
    if file.suffix != '.py' or not file.is_file():
        return
    chain = (*chain, file.resolve())
    for base in _base_names(_parse(file), file):
        path = (file.parent / base).resolve()
        if path in chain:
            names = ' -> '.join(f.name for f in (*chain[chain.index(path) :], path))
            raise UserError(f'{file}: _base_ = {base!r} leads back to the file itself: {names}')
        check_text(file.parent / base, chain)


def _parse(file: Path) -> ast.Module:
    content = file.read_bytes()
    try:
        tree = ast.parse(content.decode('utf-8-sig'))
        # Some mistakes, such as a `return` outside a function, are found only here.
        compile(tree, str(file), 'exec')
    except UnicodeDecodeError as error:
        line = content.count(b'\n', 0, error.start) + 1
        advice = 'the file is not UTF-8 text; save it as UTF-8 (in Notepad: Save as, Encoding)'
        raise UserError(f'{file}, line {line}: {advice}') from error
    except SyntaxError as error:
        advice = error.msg
        if 'unicodeescape' in advice:
            advice = (
                'a backslash in quotes begins an escape; write a path as '
                r"r'C:\Users\me' or 'C:/Users/me'"
            )
        raise UserError(f'{file}, line {error.lineno}: {advice}') from error
    except ValueError as error:
        raise UserError(f'{file} is not Python text: {error}') from error
    return tree


def _base_names(tree: ast.Module, file: Path) -> list[str]:
    """Return the names under `_base_`; an empty list if the config computes them."""
    names: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == '_base_':
            try:
                value = ast.literal_eval(node.value)
            except ValueError:
                continue
            names += value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(name, str) for name in names):
        raise UserError(f'{file}: _base_ is not the name of a file, or a list of names')
    return names
