"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ParamSpec, TypeVar
from uuid import uuid4

P = ParamSpec('P')
T = TypeVar('T')

# Seconds between attempts, 6 in all.
WAITS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.0)


def retry_locked(action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function again for a few seconds while it raises PermissionError.

    On Windows a virus scanner or an editor that holds a file open makes others fail to open,
    replace or remove it.

    Args:
        action: What opens, replaces or removes a file.
        *args: Its arguments.
        **kwargs: Its arguments by name.

    Returns:
        What the function returns.

    Raises:
        PermissionError: The last attempt failed too.
    """
    for seconds in WAITS:
        try:
            return action(*args, **kwargs)
        except PermissionError:
            time.sleep(seconds)
    return action(*args, **kwargs)


def remove_file(path: str | Path) -> None:
    """Remove a plain file; a folder, a link or nothing at this path stays as it is."""
    path = Path(path)
    if path.is_file() and not path.is_symlink():
        retry_locked(path.unlink, missing_ok=True)


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Write a file so that nobody ever sees a part of it.

    Yields a path in the same folder to write to. It replaces `path` when the
    block ends and is removed when the block fails; `path` is then as it was. A `path` that another
    program holds open is waited for, for a few seconds.

    Args:
        path: The file to write; its folder is made where it is missing.

    Raises:
        FileNotFoundError: The block ended without writing the file.
        OSError: The file cannot be written; the error names `path`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last: numpy, matplotlib and OpenCV go by it.
    temporary = path.with_name(f'.{path.stem}.{uuid4().hex[:12]}.tmp{path.suffix}')
    try:
        yield temporary
        # Windows syncs only what is open for writing.
        with retry_locked(temporary.open, 'rb+') as file:
            os.fsync(file.fileno())
        # The rename is what makes it atomic; pathlib's own is the same call.
        retry_locked(os.replace, temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        # A full disk names no file, and the temporary name says nothing to the user.
        if error.filename in (None, str(temporary)):
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        with suppress(OSError):
            retry_locked(temporary.unlink, missing_ok=True)


def _sync_folder(folder: Path) -> None:
    # The new name survives a power cut only when the folder is synced too,
    # which Windows has no call for.
    if os.name != 'posix':
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
