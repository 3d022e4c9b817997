"""Trainings that take no time, in place of `mmseg_kd.studies.training_process.enter`."""

import os
import signal
import sys
import time
from multiprocessing.connection import Connection

from mmseg_kd.studies import training_process
from mmseg_kd.studies.training_process import Task


def noisy(task: Task, study: Connection) -> None:
    """Print with Python and without."""
    sys.modules['mmseg_kd.studies.training'] = sys.modules[__name__]
    training_process.enter(task, study)


def run_task(task: Task, study: Connection) -> None:
    """Take the place of the function that trains."""
    print('a line\n한글')
    os.write(1, b'without Python\n')
    study.send(('done', None))


def dying(task: Task, study: Connection) -> None:
    """Die as at the hands of a system that is out of memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def obedient(task: Task, study: Connection) -> None:
    """Stop when asked to."""
    os.setsid()
    study.recv()
    study.send(('interrupted', None))


def stubborn(task: Task, study: Connection) -> None:
    """Do not listen."""
    os.setsid()
    time.sleep(60)
