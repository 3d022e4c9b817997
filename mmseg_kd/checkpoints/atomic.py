"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Write a file so that nobody ever sees a part of it.

    Yields a path in the same folder to write to. It replaces `path` when the
    block ends and is removed when the block fails; `path` is then as it was.

    Args:
        path: The file to write; its folder is made where it is missing.

    Raises:
        FileNotFoundError: The block ended without writing the file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last: numpy, matplotlib and OpenCV go by it.
    temporary = path.with_name(f'.{path.stem}.{uuid4().hex[:12]}.tmp{path.suffix}')
    try:
        yield temporary
        # Windows syncs only what is open for writing.
        with temporary.open('rb+') as file:
            os.fsync(file.fileno())
        # The rename is what makes it atomic; pathlib's own is the same call.
        os.replace(temporary, path)  # noqa: PTH105
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


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
