"""Where Optuna keeps a study: SQLite, another database, or a journal file on a shared disk."""

from __future__ import annotations

import random
import re
import time
import warnings
from pathlib import Path

from optuna.exceptions import ExperimentalWarning, OptunaError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from sqlalchemy import exc

from mmseg_kd.errors import UserError, one_line

# Seconds that a process waits for another one that writes.
PATIENCE = 60
SQLITE = ('.db', '.sqlite', '.sqlite3')


def open_storage(where: str | None, folder: Path) -> BaseStorage:
    """Open a study's storage, and create it if it is missing.

    Args:
        where: An RDB URL, a path ending in .db for SQLite, or any other path for a journal
            file; None means `study.db` in the folder.
        folder: The study's folder.

    Raises:
        UserError: The database cannot be reached or has no driver, or the file cannot be
            written or holds something else.
    """
    warnings.filterwarnings('ignore', category=ExperimentalWarning)
    where = where or str(folder / 'study.db')
    try:
        if '://' in where:
            return _database(where)
        path = Path(where).resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in SQLITE:
            return _database(f'sqlite:///{path.as_posix()}')
        return _journal(path)
    except (OSError, exc.SQLAlchemyError, ImportError, ValueError, KeyError, RuntimeError) as error:
        cause: BaseException = error
        # Optuna wraps the driver's message in its own advice.
        while cause.__cause__ is not None:
            cause = cause.__cause__
        advice = '; for PostgreSQL: pip install psycopg2-binary'
        raise UserError(
            f'--storage {shown(where)} cannot be opened: {one_line(cause)}'
            + advice * isinstance(error, ImportError)
        ) from error


def shown(where: str) -> str:
    """Return a storage's address without its password."""
    return re.sub('(://[^:]*:).*@', r'\1***@', where)


def _database(url: str) -> RDBStorage:
    sqlite = url.startswith('sqlite')
    options = {'connect_args': {'timeout': PATIENCE}} if sqlite else {'pool_pre_ping': True}
    # Processes that start together all create the tables, and all but one of them fail.
    for _ in range(6):
        try:
            return RDBStorage(url, engine_kwargs=options)
        except (exc.DBAPIError, OptunaError):
            time.sleep(random.uniform(0.1, 0.5))
    return RDBStorage(url, engine_kwargs=options)


def _journal(path: Path) -> JournalStorage:
    # The default lock makes a symbolic link, for which Windows users lack the rights.
    lock = JournalFileOpenLock(str(path))
    if path.is_file():
        _cut_unfinished_line(path, lock)
    return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))


def _cut_unfinished_line(path: Path, lock: JournalFileOpenLock) -> None:
    """Remove a last line that a power cut left unfinished; Optuna would append to it."""
    with path.open('rb') as file:
        if file.read(1) not in (b'', b'{'):
            raise ValueError('it holds no journal of a study; write another path')
    lock.acquire()
    try:
        with path.open('rb+') as file:
            text = file.read()
            if text and not text.endswith(b'\n'):
                file.truncate(text.rfind(b'\n') + 1)
    finally:
        lock.release()
