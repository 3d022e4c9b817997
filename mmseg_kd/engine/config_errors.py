"""What goes wrong while the parts of a config are built, said to its author."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.registry import build_from_cfg

from mmseg_kd.errors import UserError

# Of these very types: what is derived from them says something of its own.
MISTAKES = (KeyError, TypeError, ValueError, AttributeError, AssertionError, FileNotFoundError)

# Of a message, in characters: some hold the whole config.
LONGEST = 400


@contextmanager
def config_errors() -> Iterator[None]:
    """Build parts of a checked config in this block.

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
            raise UserError(f'the config cannot be built: {_one_line(error)}') from error
        raise
    except (ImportError, RuntimeError) as error:
        # Parts of mmseg that need compiled operators or another package say so.
        if not str(error).startswith('Please install'):
            raise
        raise UserError(f'the config cannot be built: {_one_line(error)}') from error


def _one_line(error: Exception) -> str:
    text = str(error.args[0]) if error.args else type(error).__name__
    if isinstance(error, FileNotFoundError):
        text = str(error)
    if isinstance(error, KeyError) and ' ' not in text:
        text = f'there is no {text!r}'
    if isinstance(error, AssertionError) and not error.args:
        # mmseg checks many a value by a bare assertion, whose line is all that it says.
        text = traceback.extract_tb(error.__traceback__)[-1].line or text
    text = ' '.join(text.split()).partition(' Please check whether the value of')[0]
    owner = _being_built(error)
    text = text if owner in text else f'{owner}: {text}'
    return text if len(text) <= LONGEST else f'{text[:LONGEST]}...'


def _being_built(error: Exception) -> str:
    """The name of what mmengine's registry was building, the innermost; '' where it was not."""
    owner = ''
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code is build_from_cfg.__code__:
            owner = getattr(frame.f_locals.get('obj_cls'), '__name__', owner)
    return owner


def _user_error(error: BaseException) -> UserError | None:
    while error is not None:
        if isinstance(error, UserError):
            return error
        error = error.__cause__ or error.__context__
    return None
