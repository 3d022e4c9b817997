"""Trainings that take no time, in place of `mmseg_kd.studies.training_process.enter`."""

import os
import signal
import sqlite3
import time
from contextlib import closing, suppress
from multiprocessing.connection import Connection
from pathlib import Path

from mmseg_kd.studies.training_process import Task


def failing(task: Task, study: Connection) -> None:
    """Send an error."""
    study.send('it broke')


def damaging(task: Task, study: Connection) -> None:
    """Damage the study's database."""
    with closing(sqlite3.connect(Path(task.work_dir).parents[2] / 'study.db')) as database:
        database.execute('DROP TABLE trial_user_attributes')


def dying(task: Task, study: Connection) -> None:
    """Die as at the hands of a system that is out of memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def obedient(task: Task, study: Connection) -> None:
    """Stop when asked to."""
    with suppress(EOFError):
        study.recv()


def stubborn(task: Task, study: Connection) -> None:
    """Do not listen."""
    time.sleep(60)
