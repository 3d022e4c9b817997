"""Start a training in a process of its own and wait for it.

A training that crashes or is killed for its memory does not end the study, and frees the GPU.
"""

import ctypes
import multiprocessing
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from mmseg_kd import register_all

# Seconds after which a training that was asked to stop is killed.
STOP_WITHIN = 60


class Task(NamedTuple):
    """What to train, and where.

    Attributes:
        config: The config file.
        options: Overrides by dotted key.
        work_dir: Where it writes, and continues from.
        fingerprint: Fingerprint of the planned settings without those that `options` sets; None
            to train any.
        drawn: The keys of `options` whose values a search has drawn since the plan was made.
        checkpoint: Checkpoint to test on the test split; None trains.
    """

    config: str
    options: dict[str, Any]
    work_dir: str
    fingerprint: str | None = None
    drawn: tuple[str, ...] = ()
    checkpoint: str | None = None


def run_training(task: Task, meanwhile: Callable[[], None] = lambda: None) -> str | None:
    """Train in a process of its own until it ends.

    Args:
        task: What to train.
        meanwhile: Called ten times a second. An error in it kills the training.

    Returns:
        The error if the training failed, else None.

    Raises:
        KeyboardInterrupt: The user stopped the study. The training is stopped too, and killed if it
            takes too long; its files are complete at any instant.
    """
    context = multiprocessing.get_context('spawn')
    connection, child = context.Pipe()
    process = context.Process(target=enter, args=(task, child))
    process.start()
    child.close()
    try:
        while process.is_alive():
            meanwhile()
            process.join(0.1)
    except KeyboardInterrupt:
        connection.close()
        for _ in range(STOP_WITHIN):
            # On Windows another Ctrl-C is noticed only after a wait.
            process.join(1.0)
        raise
    finally:
        process.kill()
        process.join()
    try:
        return connection.recv()
    except (EOFError, OSError):
        return _death(process.exitcode)


def enter(task: Task, study: Connection) -> None:
    """Run a task in the process that was started for it."""
    # Ctrl-C in a terminal reaches this process too; only the study handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == 'win32':
        # The data loader's workers inherit this, and not the handler.
        ctypes.windll.kernel32.SetConsoleCtrlHandler(None, True)
    # Without mmcv's notes, which the imports of `training` would print.
    register_all()
    from mmseg_kd.studies.training import run_task

    run_task(task, study)


def _death(code: int) -> str:
    if code >= 0:
        return f'the training ended with exit code {code} without a message'
    memory = '; the machine may be out of memory' if code == -9 else ''
    return f'the training was killed by signal {-code} ({signal.strsignal(-code)}){memory}'
