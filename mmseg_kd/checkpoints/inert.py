"""Stand-ins for numpy and mmengine while a stock mmengine checkpoint is read.

A pickle may call every allowed name with any argument, and may set the state of the result.
numpy's own constructors are not safe against that: a forged dtype makes numpy take plain bytes for
object pointers, and a second state set on an array frees memory that a tensor still shows.
Therefore the names of numpy and mmengine resolve to records, which only keep their arguments.
After the whole file has been read, `restore` turns records into arrays, numbers and history
buffers, and only if they have the plain form that numpy and mmengine write.
"""

import re
from collections.abc import Callable
from pickle import UnpicklingError
from typing import Any, NoReturn

import mmengine.logging
import numpy as np

# Booleans, integers, floats and complex numbers: no objects, no records, no text.
_NUMBER = re.compile(r'[biufc]\d{1,2}')


class _Record:
    """An object as the file describes it: its arguments and its state."""

    state: Any = None

    def __init__(self, *args: Any) -> None:
        self.args = args

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def restore(self) -> Any:
        # `numpy.ndarray` itself is only ever an argument of an array.
        _refuse('numpy.ndarray')


class _Dtype(_Record):
    def restore(self) -> np.dtype:
        code, order = self.args[0], self.state[1]
        is_number = isinstance(code, str) and _NUMBER.fullmatch(code)
        if not (is_number and order in ('<', '>', '|', '=')):
            _refuse(f'numpy.dtype({code!r})')
        return np.dtype(code).newbyteorder(order)


class _Array(_Record):
    def restore(self) -> np.ndarray:
        _, shape, dtype, is_fortran, raw = self.state
        return _numbers(shape, dtype, raw, 'F' if is_fortran else 'C')


class _Scalar(_Record):
    def restore(self) -> np.generic:
        return _numbers((), *self.args)[()]


class HistoryBuffer(_Record):
    """A record of mmengine's buffer; it has the original's name, because errors print it."""

    def restore(self) -> mmengine.logging.HistoryBuffer:
        """Make the real buffer from the two arrays in the state.

        The original's `__setstate__` would let a file replace methods of the class.
        """
        log, counts = (self.state[key] for key in ('_log_history', '_count_history'))
        if not (isinstance(log, _Array) and isinstance(counts, _Array)):
            _refuse('HistoryBuffer(object)')
        max_length = int(self.state['max_length'])
        return mmengine.logging.HistoryBuffer(log.restore(), counts.restore(), max_length)


def _numbers(shape: tuple, dtype: Any, raw: Any, order: str = 'C') -> np.ndarray:
    if not (isinstance(dtype, _Dtype) and isinstance(raw, bytes)):
        _refuse('numpy.ndarray(object)')
    # This constructor checks shape and dtype against the length of the bytes.
    return np.ndarray(shape, dtype.restore(), raw, order=order).copy(order='K')


def _statistics_method(owner: Any, name: Any) -> str:
    """Stand in for `getattr`, by which mmengine names a statistics method; keep the name only."""
    if owner is not HistoryBuffer or name not in ('min', 'max', 'current', 'mean'):
        _refuse(f'getattr({getattr(owner, "__name__", type(owner).__name__)},{name!r})')
    return name


def _refuse(name: str) -> NoReturn:
    # torch keeps only the text of this error, so the text has the form of torch's own.
    raise UnpicklingError(f'GLOBAL {name} was not an allowed global')


# For `torch.serialization.safe_globals`: what a name in the file resolves to.
STAND_INS: list[tuple[Callable, str]] = [
    (HistoryBuffer, 'mmengine.logging.history_buffer.HistoryBuffer'),
    (_statistics_method, 'builtins.getattr'),
    # An empty array is written as `bytes()`; `bytes(n)` would fill the memory.
    (lambda: b'', 'builtins.bytes'),
    (_Record, 'numpy.ndarray'),
    (_Dtype, 'numpy.dtype'),
    # numpy 2 and numpy 1.
    *((_Array, f'numpy.{core}.multiarray._reconstruct') for core in ('_core', 'core')),
    *((_Scalar, f'numpy.{core}.multiarray.scalar') for core in ('_core', 'core')),
]


def restore(value: Any, done: dict[int, tuple[Any, Any]]) -> Any:
    """Replace records by real objects, in dicts, lists and tuples.

    Args:
        value: The content of the file; dicts and lists are changed in place.
        done: Originals and results by `id` of the original, because containers in a file may be
            shared or hold themselves. Keeping the original keeps its `id` from being used again.

    Raises:
        UnpicklingError: A record does not have the form that numpy or mmengine write.
    """
    if id(value) in done:
        return done[id(value)][1]
    result = value
    if isinstance(value, _Record):
        result = value.restore()
    elif type(value) is tuple:
        result = tuple(restore(item, done) for item in value)
    done[id(value)] = (value, result)
    if isinstance(value, dict):
        # `dict.items`, because a file may set an `items` attribute on an OrderedDict.
        for key, item in list(dict.items(value)):
            value[key] = restore(item, done)
    elif type(value) is list:
        value[:] = [restore(item, done) for item in value]
    return result
