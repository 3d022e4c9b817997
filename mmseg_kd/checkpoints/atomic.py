"""Write files atomically: a reader sees the old file or the whole new one."""

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from mmseg_kd.paths import retry_locked


def remove_file(path: str | Path) -> None:
    """Remove a plain file. Folders, links and missing files are left alone."""
    path = Path(path)
    if path.is_file() and not path.is_symlink():
        retry_locked(path.unlink, missing_ok=True)


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Write a file so that no reader ever sees a part of it.

    Yields a temporary path in the same folder. When the block ends, the temporary file replaces
    `path`. When the block fails, the temporary file is removed and `path` stays as it was. If
    another program holds `path` open, the replacement is retried for a few seconds.

    Args:
        path: The file to write; a missing folder is created.

    Raises:
        FileNotFoundError: The block ended without writing the file.
        OSError: The file cannot be written; the error names `path`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last, because numpy, matplotlib and OpenCV choose the format by it.
    temporary = path.with_name(f'.{path.stem}.{uuid4().hex[:12]}.tmp{path.suffix}')
    try:
        yield temporary
        # Windows syncs only files that are open for writing.
        with retry_locked(temporary.open, 'rb+') as file:
            os.fsync(file.fileno())
        # A rename within a folder is atomic.
        retry_locked(os.replace, temporary, path)
    except OSError as error:
        # The error of a full disk names no file, and the user does not know the temporary name.
        if error.errno and error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):
            retry_locked(temporary.unlink, missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file in UTF-8; paths and errors as for `atomic_path`."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding='utf-8')


def write_csv(path: str | Path, rows: Iterable[Sequence]) -> None:
    """Write a CSV file of rows of cells; paths and errors as for `atomic_path`.

    Excel recognises UTF-8 only by a byte order mark.
    """
    with atomic_path(path) as partial, partial.open('w', encoding='utf-8-sig', newline='') as file:
        csv.writer(file).writerows(rows)
