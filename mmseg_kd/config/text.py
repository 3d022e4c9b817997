"""The text of config files, as editors and shells write it."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import mmengine.config.config
from mmengine.config import Config

from mmseg_kd.config.bases import bases_of
from mmseg_kd.errors import UserError


def read_config(path: str | Path) -> Config:
    """Read a config file and those that it inherits from.

    Raises:
        UserError: One of the files is not UTF-8 text or not valid Python; with its name and line.
    """
    try:
        return Config.fromfile(path, format_python_code=False)
    except (SyntaxError, UnicodeDecodeError) as error:
        # mmengine names neither an inherited file nor, for some mistakes, the file itself.
        check_text(Path(path))
        line = f', line {error.lineno}' if isinstance(error, SyntaxError) else ''
        raise UserError(f'{path}{line}: {error}') from error


def _open(file: Any, mode: str = 'r', encoding: str | None = None, **kwargs: Any) -> Any:
    """Open a file for mmengine, without the mark that begins UTF-8 files of Windows' editors."""
    if mode == 'r' and encoding == 'utf-8':
        encoding = 'utf-8-sig'
    return open(file, mode, encoding=encoding, **kwargs)  # noqa: PTH123


# `Config.fromfile` reads files in many places and has no setting for it.
mmengine.config.config.open = _open


def check_text(file: Path, seen: frozenset[Path] = frozenset()) -> None:
    """Raise UserError where a config, or one that it inherits from, cannot be parsed."""
    if file.suffix != '.py' or not file.is_file() or file.resolve() in seen:
        return
    seen = seen | {file.resolve()}
    content = file.read_bytes()
    try:
        tree = ast.parse(content.decode('utf-8-sig'))
    except UnicodeDecodeError as error:
        line = content.count(b'\n', 0, error.start) + 1
        raise UserError(
            f'{file}, line {line}: the file is not UTF-8 text; save it as UTF-8 (in Notepad: '
            'Save as, Encoding)'
        ) from error
    except SyntaxError as error:
        raise UserError(f'{file}, line {error.lineno}: {_advice(error)}') from error
    except ValueError as error:
        raise UserError(f'{file} is not Python text: {error}') from error
    for base in bases_of(tree):
        check_text(file.parent / base, seen)


def _advice(error: SyntaxError) -> str:
    if 'unicodeescape' in error.msg:
        return (
            'a backslash in quotes begins an escape; write a path as '
            r"r'C:\Users\me' or 'C:/Users/me'"
        )
    return error.msg
