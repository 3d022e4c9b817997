"""Check paths before a tool starts its work, retry locked files, and shorten paths."""

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mmseg_kd.errors import UserError, no_file

# Seconds between the attempts of `retry_locked`.
WAITS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.0)


def check_file(path: str | Path, what: str) -> None:
    """Raise UserError if a path is not a file.

    Args:
        path: The file to read.
        what: Name of the file in the message, e.g. 'the config'.
    """
    if not Path(path).is_file():
        raise UserError(f'{what} {path} {no_file(path)}')


def check_new_file(path: str | Path, option: str, suffix: str = '') -> None:
    """Raise UserError if a file could not be written, or would replace something.

    Args:
        path: The file to write.
        option: The option or key that names it, e.g. '--out'.
        suffix: The suffix that it must have, if any.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f'{option}: {path} is a folder; name a file')
    if path.exists():
        raise UserError(f'{option}: {path} exists; name a new file')
    if not path.name.endswith(suffix):
        raise UserError(f'{option}: {path} does not end in {suffix}')
    _check_parents(path, option)


def check_new_folder(path: str | Path, option: str) -> None:
    """Raise UserError if a folder could not be written to, or is not empty.

    Args:
        path: The folder to fill.
        option: The option or key that names it.
    """
    check_folder(path, option)
    if Path(path).is_dir() and any(Path(path).iterdir()):
        raise UserError(f'{option}: the folder {path} is not empty; name another')


def retry_locked(action: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function, and repeat it for a few seconds while it raises PermissionError.

    On Windows a file or folder cannot be opened, replaced, renamed or removed while a virus scanner
    or an editor holds it open.

    Args:
        action: A function that opens, replaces, renames or removes a file or folder.
        *args: Positional arguments of the function.
        **kwargs: Keyword arguments of the function.

    Returns:
        The function's result.

    Raises:
        PermissionError: The last attempt failed too.
    """
    for seconds in WAITS:
        try:
            return action(*args, **kwargs)
        except PermissionError:
            time.sleep(seconds)
    return action(*args, **kwargs)


@contextmanager
def new_folder(path: str | Path, option: str) -> Iterator[Path]:
    """Yield a folder that becomes `path` when the block ends without an error.

    Args:
        path: A folder that does not exist or is empty.
        option: The option or key that names it.
    """
    check_new_folder(path, option)
    path = Path(path).resolve()
    # An existing folder stays: it may be a mount point.
    place = path if path.is_dir() else path.parent
    place.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f'.{path.name}.', dir=place) as scratch:
        partial = Path(scratch) / path.name
        partial.mkdir()
        yield partial
        for part in [*partial.iterdir()] if place == path else [partial]:
            # Windows refuses to rename a folder while a virus scanner reads a file in it.
            retry_locked(part.rename, place / part.name)


def check_folder(path: str | Path, option: str) -> None:
    """Raise UserError if a folder could not be created or written to.

    Args:
        path: The folder; it may contain files.
        option: The option or key that names it.
    """
    if not str(path).strip():
        raise UserError(f'{option} is empty; name a folder')
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise UserError(f'{option}: {path} is a file; name a folder')
    _check_parents(path / 'any', option)


def _check_parents(path: Path, option: str) -> None:
    # The last is the drive, which may be missing on Windows.
    parent = next((folder for folder in path.parents if folder.exists()), path.parents[-1])
    if not parent.is_dir():
        problem = 'is a file' if parent.exists() else 'does not exist'
        raise UserError(f'{option}: {path.parent} cannot be written, {parent} {problem}')
    if not os.access(parent, os.W_OK | os.X_OK):
        raise UserError(f'{option}: the folder {parent} cannot be written to; name another')


def without_password(address: str) -> str:
    """Hide the password in the address of a database.

    Example:
        >>> without_password('--storage=postgresql://me:secret@host/studies')
        '--storage=postgresql://me:***@host/studies'
    """
    return re.sub('(://[^:]*:).*@', r'\1***@', address)


def relative(path: str | Path) -> str:
    """Shorten a path below the current folder."""
    try:
        return Path(path).resolve().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return str(path)


def relative_to(path: str | Path, folder: str | Path) -> str:
    """Return a path relative to any folder, or its full path if it is on another drive."""
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:
        return Path(path).resolve().as_posix()


def quoted(text: str) -> str:
    """Quote an argument for bash, PowerShell and cmd alike, as far as they agree."""
    if not re.search(r'[^\w./:=+-]', text):
        return text
    # Bash and PowerShell read `$` between double quotes as a variable. cmd has no single quotes.
    return f"'{text}'" if re.search(r'[$`"]', text) else f'"{text}"'
