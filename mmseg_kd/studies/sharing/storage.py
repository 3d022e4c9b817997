"""Where Optuna keeps a study: SQLite or another database."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from optuna.exceptions import OptunaError, StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy import URL, exc

from mmseg_kd.errors import UserError, one_line
from mmseg_kd.paths import without_password

# Seconds that a process waits for another one that writes.
PATIENCE = 60


def open_storage(where: str | None, folder: Path) -> BaseStorage:
    """Open a study's storage, and create it if it is missing.

    Args:
        where: An RDB URL, or a path of SQLite; None means `study.db` in the folder.
        folder: The study's folder.

    Raises:
        UserError: The database cannot be reached or has no driver, or the file cannot be
            written or holds something else.
    """
    where = where or str(folder / 'study.db')
    try:
        if '://' in where:
            return _database(where)
        path = Path(where).resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        return _database(URL.create('sqlite', database=path.as_posix()).render_as_string())
    except (OSError, exc.SQLAlchemyError, ImportError, ValueError, KeyError, RuntimeError) as error:
        place = without_password(where)
        raise UserError(f'--storage {place} cannot be opened: {reason(error)}') from error


@contextmanager
def needing_storage() -> Iterator[None]:
    """Report a database that stops answering in one line.

    Raises:
        UserError: The database cannot be read or written.
    """
    try:
        yield
    except (StorageInternalError, exc.SQLAlchemyError) as error:
        problem = f"the study's database does not answer ({reason(error)})"
        raise UserError(f'{problem}; run the same command again to continue') from error


def reason(error: BaseException) -> str:
    """Return the driver's message, which Optuna and SQLAlchemy wrap in their own advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    return one_line(error)


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
