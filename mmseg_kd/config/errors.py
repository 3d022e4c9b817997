"""Errors raised while a config is read or built, as one line for its author."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmseg_kd.compat import is_code_of_a_config, part_being_built
from mmseg_kd.errors import LONGEST, UserError, one_line

# These types and no subclass of them: a subclass has a meaning of its own.
MISTAKES = (
    KeyError, TypeError, ValueError, AttributeError, AssertionError, FileNotFoundError,
    IndexError, ZeroDivisionError, RuntimeError, ImportError, ModuleNotFoundError,
)  # fmt: skip
# How mmengine begins a list of keys, which can be longer than a line of a console.
DUPLICATE_KEYS = 'Duplicate key is not allowed among bases'


@contextmanager
def config_errors(cfg: Config | None = None) -> Iterator[None]:
    """Build parts of a checked config in this block.

    Args:
        cfg: The config, in which the part that failed is looked up to name its key.

    Raises:
        UserError: A type is not registered, a value does not suit its constructor, or a file that
            it names is not there.
    """
    try:
        yield
    except MISTAKES as error:
        if cause := _user_error(error):
            raise cause from error
        if type(error) in MISTAKES:
            raise UserError(f'the config cannot be built: {_message(error, cfg)}') from error
        raise


@contextmanager
def reading_errors(path: str | Path) -> Iterator[None]:
    """Read a config file in this block, whose code may end in any way.

    Raises:
        UserError: Reading failed; with the file and the line in it, also where it was inherited.
    """
    try:
        yield
    except (UserError, KeyboardInterrupt):
        raise
    except SystemExit as error:
        raise UserError(f'{_place(error, path)}: a config must not end the program') from error
    except Exception as error:
        key, _, _ = str(error).partition('=')
        if isinstance(error, TypeError) and 'cannot inherit from base' in str(error):
            raise UserError(
                f'{path}: {key} is a dict here and a single value in the base config; to replace '
                f'it, write {key}=dict(_delete_=True, ...)'
            ) from error
        if DUPLICATE_KEYS in str(error):
            keys = ', '.join(sorted(re.findall(r"'(\w+)'", str(error))))
            raise UserError(
                f'{path}: several configs of _base_ set {keys}: inherit from one of them'
            ) from error
        text = f'{type(error).__name__}: {one_line(error)}'
        raise UserError(f'{_place(error, path)}: {text}') from error


def _place(error: BaseException, path: str | Path) -> str:
    """Return the line of a config that failed, or that the file cannot be read."""
    frames = [
        (frame.f_code.co_filename, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if is_code_of_a_config(frame)
    ]
    return '{}, line {}'.format(*frames[-1]) if frames else f'{path} cannot be read'


def _message(error: Exception, cfg: Config | None) -> str:
    text = str(error.args[0]) if error.args else type(error).__name__
    if isinstance(error, FileNotFoundError):
        text = str(error)
    if isinstance(error, KeyError) and ' ' not in text:
        text = f'there is no {text!r}'
    if isinstance(error, AssertionError) and not error.args:
        # mmseg checks many a value by a bare assertion, whose line is all that it says.
        text = traceback.extract_tb(error.__traceback__)[-1].line or text
    text = ' '.join(text.split()).partition(' Please check whether the value of')[0]
    key, owner, argument = _being_built(error, cfg)
    if isinstance(error, IndexError) and argument:
        # "list index out of range" alone does not say of which argument.
        key = f'{key}.{argument}'
    for name in (owner, key):
        text = text if name in text else f'{name}: {text}'
    return text if len(text) <= LONGEST else f'{text[:LONGEST]}...'


def _being_built(error: Exception, cfg: Config | None) -> tuple[str, str, str]:
    """Return key and type of what mmengine's registry was building, the innermost.

    The third is the argument, if a single one, that the line that failed was working on. Each is
    '' if it is unknown.
    """
    key = owner = ''
    part: Any = {}
    names: Mapping[str, Any] = {}
    for frame, _ in traceback.walk_tb(error.__traceback__):
        names = frame.f_locals
        if (built := part_being_built(frame)) is not None:
            part, name = built
            if found := next(_keys_of(part, cfg, ''), ''):
                key, owner = found, name
            owner = name or owner
    arguments = [argument for argument in part if argument in names]
    return key, owner, arguments[0] if len(arguments) == 1 and key else ''


def _keys_of(part: Any, node: Any, where: str) -> Iterator[str]:
    """Yield the keys at which a config has a dict."""
    if isinstance(node, Mapping | Config):
        if where and part and dict(node) == dict(part):
            yield where
        items = node.items()
    else:
        items = enumerate(node) if isinstance(node, list | tuple) else ()
    for key, value in items:
        yield from _keys_of(part, value, f'{where}.{key}'.lstrip('.'))


def _user_error(error: BaseException) -> UserError | None:
    while error is not None:
        if isinstance(error, UserError):
            return error
        error = error.__cause__ or error.__context__
    return None
