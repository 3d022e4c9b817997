"""Where Optuna keeps a study: SQLite, another database, or a journal file on a shared disk."""

from __future__ import annotations

import random
import time
import warnings
from pathlib import Path

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from sqlalchemy import create_engine, event, inspect
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.exc import (
    ArgumentError,
    IntegrityError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)

from mmseg_kd.errors import UserError

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
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings('ignore', category=ExperimentalWarning)
    if where is None:
        folder.mkdir(parents=True, exist_ok=True)
        where = str(folder / 'study.db')
    try:
        if '://' in where:
            return _database(where)
        path = Path(where).resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        return (
            _database(f'sqlite:///{path.as_posix()}') if path.suffix in SQLITE else _journal(path)
        )
    except ImportError as error:
        raise UserError(
            f'--storage {shown(where)}: its driver is missing ({_first_line(error)}); for '
            'PostgreSQL: pip install psycopg2-binary'
        ) from error
    except (OSError, SQLAlchemyError, ValueError, KeyError, RuntimeError) as error:
        raise UserError(
            f'--storage {shown(where)} cannot be opened: {_first_line(error)}'
        ) from error


def shown(where: str) -> str:
    """Return a storage's address without its password."""
    try:
        return make_url(where).render_as_string(hide_password=True) if '://' in where else where
    except ArgumentError:
        return where.partition('://')[0] + '://...'


def _database(url: str) -> RDBStorage:
    if not url.startswith('sqlite'):
        return _create(url, {'pool_pre_ping': True})
    storage = _create(url, {'connect_args': {'timeout': PATIENCE}})
    _allow_one_writer(storage.engine)
    return storage


def _create(url: str, options: dict) -> RDBStorage:
    # Processes that start together all create the tables, and all but one of them fail.
    for attempt in range(10):
        try:
            return RDBStorage(url, engine_kwargs=options)
        except (OperationalError, ProgrammingError, IntegrityError, StorageInternalError):
            if attempt == 9 or not _answers(url):
                raise
            time.sleep(random.uniform(0.1, 0.5))
    raise AssertionError('unreachable')


def _answers(url: str) -> bool:
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            inspect(connection).get_table_names()
        return True
    except SQLAlchemyError:
        return False
    finally:
        engine.dispose()


def _allow_one_writer(engine: Engine) -> None:
    # Python's driver begins a transaction at the first write, so two processes could both read
    # that a run waits and both take it. Optuna locks a row, which SQLite cannot.
    @event.listens_for(engine, 'connect')
    def _leave_transactions_alone(connection: object, _: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, 'begin')
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql('BEGIN IMMEDIATE')

    # The connections that created the tables do not have these listeners.
    engine.dispose()


def _journal(path: Path) -> JournalStorage:
    lock = JournalFileOpenLock(str(path))
    if path.is_file():
        _cut_unfinished_line(path, lock)
    # The default lock makes a symbolic link, for which Windows users lack the rights.
    return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))


def _cut_unfinished_line(path: Path, lock: JournalFileOpenLock) -> None:
    """Remove a last line that a power cut left unfinished; Optuna would append to it."""
    with path.open('rb') as file:
        if file.read(1) not in (b'', b'{'):
            raise UserError(f'--storage {path} holds no journal of a study; write another path')
    lock.acquire()
    try:
        with path.open('rb+') as file:
            text = file.read()
            if text and not text.endswith(b'\n'):
                file.truncate(text.rfind(b'\n') + 1)
    finally:
        lock.release()


def _first_line(error: BaseException) -> str:
    # Optuna wraps the driver's message in its own advice.
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].strip() if lines else type(error).__name__
