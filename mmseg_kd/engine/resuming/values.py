"""Checks of single values of a checkpoint."""

from __future__ import annotations

import numbers
import reprlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmseg_kd.errors import UserError


class Bent(Exception):
    """Where a checkpoint is not what a run writes, and what is there instead."""


@contextmanager
def refusals(source: str | Path) -> Iterator[None]:
    """Name the file of a checkpoint, and what to do, where a check in this block fails."""
    try:
        yield
    except Bent as bent:
        raise UserError(
            f'{source} cannot be resumed: {bent}; resume from another checkpoint, or start from '
            'its weights with load_from'
        ) from bent


def expect(condition: bool, where: str, found: Any) -> None:
    """Raise Bent, with the entry's key and what is there, unless a condition holds."""
    if not condition:
        # It comes from the file.
        text = ascii(reprlib.repr(found))[1:-1]
        if isinstance(found, Tensor):
            text = f'a tensor of shape {tuple(found.shape)}'
        raise Bent(f'its {where} is not of the kind that this run saves ({text})')


def check_alike(found: Any, own: Any, where: str) -> None:
    """Raise Bent where a value is not of the kind that the run itself has.

    A dict must have the run's keys; those that an older torch left out are filled in.
    """
    if own is None or isinstance(own, bool):
        known = found is None or isinstance(found, bool)
    elif isinstance(own, numbers.Real):
        known = is_number(found)
    elif isinstance(own, Tensor):
        known = is_number(found) or (is_plain(found) and found.shape == own.shape)
    elif isinstance(own, list | tuple):
        known = isinstance(found, list | tuple) and len(found) == len(own)
    else:
        known = isinstance(found, dict) if isinstance(own, dict) else type(found) is type(own)
    expect(known, where, found)
    if isinstance(own, dict):
        for key, value in own.items():
            check_alike(found.setdefault(key, value), value, f'{where}.{key}')
    elif isinstance(own, list | tuple):
        for i, value in enumerate(own):
            check_alike(found[i], value, f'{where}.{i}')


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    # Comparing takes integers of any length, and NaN is not in the range.
    return isinstance(value, numbers.Real) and type(value) is not bool and -1e300 < value < 1e300


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number from 0 up."""
    return type(value) is int and value >= 0


def is_dict(value: Any) -> bool:
    """Whether a value is a dict."""
    return isinstance(value, dict)


def is_plain(value: Any) -> bool:
    """Whether a value is a dense tensor of real numbers, in memory."""
    strided = isinstance(value, Tensor) and value.layout is torch.strided
    return strided and not (value.is_complex() or value.is_quantized or value.is_meta)
