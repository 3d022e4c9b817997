"""Report an error raised while a config is read or built in one line."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmseg_kd.compat import is_code_of_a_config, part_being_built
from mmseg_kd.errors import UserError, one_line
from mmseg_kd.nested import nodes

# Exactly these types: a subclass may be an error of another kind.
MISTAKES = (KeyError, IndexError, TypeError, ValueError, AttributeError, AssertionError)
MISTAKES += (FileNotFoundError, ZeroDivisionError, RuntimeError, ImportError, ModuleNotFoundError)


@contextmanager
def config_errors(cfg: Config | None = None) -> Iterator[None]:
    """Build parts of a checked config in this block.

    Args:
        cfg: The config, in which the part that failed is looked up to name its key.

    Raises:
        UserError: A type is not registered, a constructor refuses a value, or a file that it names
            does not exist.
    """
    try:
        yield
    except MISTAKES as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, UserError):
            cause = cause.__cause__ or cause.__context__
        if cause is not None:
            raise cause from error
        if type(error) in MISTAKES:
            raise UserError(f'the config cannot be built: {_message(error, cfg)}') from error
        raise


@contextmanager
def reading_errors(path: str | Path) -> Iterator[None]:
    """Read a config file in this block, whose code may raise any error.

    Raises:
        UserError: Reading failed. The message names the file, also an inherited one, and the line.
    """
    try:
        yield
    except (UserError, KeyboardInterrupt):
        raise
    except (SystemExit, Exception) as error:
        place = f'{path} cannot be read'
        for frame, line in traceback.walk_tb(error.__traceback__):
            if is_code_of_a_config(frame):
                place = f'{frame.f_code.co_filename}, line {line}'
        key, _, _ = str(error).partition('=')
        text = f'{place}: {type(error).__name__}: {one_line(error)}'
        if isinstance(error, SystemExit):
            text = f'{place}: a config must not end the program'
        elif 'cannot inherit from base' in str(error):
            text = f'{path}: the base has no dict {key}: write {key}=dict(_delete_=True, ...)'
        elif 'Duplicate key is not allowed among bases' in str(error):
            # Not cut off as by `one_line`, so that every key is named.
            keys = str(error).partition('Duplicate keys: ')[2].strip('"')
            text = f'{path}: several configs of _base_ set {keys}: inherit from one of them'
        raise UserError(text) from error


def _message(error: Exception, cfg: Config | None) -> str:
    # A KeyError's own text is the quoted key.
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    if isinstance(error, KeyError) and ' ' not in text:
        text = f'there is no {text!r}'
    if isinstance(error, AssertionError) and not error.args:
        # mmseg checks many values by assertions without a message; their code is the only hint.
        text = traceback.extract_tb(error.__traceback__)[-1].line or text
    text = ' '.join(text.split()).partition(' Please check whether the value of')[0]
    text = text or type(error).__name__
    key, owner = _being_built(error, cfg)
    for name in (owner, key):
        text = text if name in text else f'{name}: {text}'
    return one_line(text)


def _being_built(error: Exception, cfg: Config | None) -> tuple[str, str]:
    """Return key and type of the innermost part that mmengine's registry was building.

    Either is '' if it is unknown.
    """
    key = owner = ''
    part: dict[str, Any] = {}
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    for part, name in filter(None, map(part_being_built, frames)):
        same = (where for where, node in nodes(cfg) if where and part and node == part)
        if found := next(same, ''):
            key, owner = found, name
        owner = name or owner
    # The message "list index out of range" does not name the argument.
    if isinstance(error, IndexError) and key:
        arguments = [argument for argument in part if argument in frames[-1].f_locals]
        key = f'{key}.{arguments[0]}' if len(arguments) == 1 else key
    return key, owner
