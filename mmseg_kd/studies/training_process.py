"""Start a training in a process of its own and talk to it.

A training that crashes or is killed for its memory does not end the study, and frees the GPU.
"""

from __future__ import annotations

import ctypes
import math
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

# Seconds after which a training that was asked to stop is killed.
STOP_WITHIN = 60.0


@dataclass(frozen=True)
class Task:
    """What to train, and where.

    Attributes:
        config: The config file.
        options: Overrides by dotted key.
        work_dir: Where it writes, and continues from.
        fingerprint: Fingerprint of the planned settings without those that `options` sets; None
            to train any.
        console: File for the training's console output; None shows it here.
        checkpoint: Checkpoint to test on the test split; None trains.
    """

    config: str
    options: dict[str, Any]
    work_dir: str
    fingerprint: str | None = None
    console: Path | None = None
    checkpoint: str | None = None


def run_training(task: Task, should_stop: Callable[[], int] = lambda: 0) -> tuple[str, str | None]:
    """Train in a process of its own until it ends.

    Args:
        task: What to train.
        should_stop: Called ten times a second; 1 asks the training to stop, 2 kills it. The files
            of a killed training are complete at any instant.

    Returns:
        How it ended, 'done', 'interrupted' or 'failed', and the error if it failed.
    """
    context = multiprocessing.get_context('spawn')
    pipe, child = context.Pipe()
    process = context.Process(target=enter, args=(task, child))
    process.start()
    child.close()
    outcome, kill_at = None, math.inf
    try:
        while True:
            # A process that has ended may have left messages.
            alive, message = process.is_alive(), _receive(pipe)
            if message is None and not alive:
                break
            outcome = message or outcome
            stop = should_stop()
            if stop and kill_at == math.inf:
                kill_at = time.monotonic() + STOP_WITHIN
                with suppress(OSError):
                    pipe.send('stop')
            if stop > 1 or time.monotonic() > kill_at:
                process.kill()
    finally:
        process.kill()
        process.join()
    return outcome or ('failed', _death(process.exitcode))


def _receive(pipe: Connection) -> tuple | None:
    try:
        return pipe.recv() if pipe.poll(0.1) else None
    except (EOFError, OSError):
        # It has ended.
        time.sleep(0.1)
        return None


def enter(task: Task, study: Connection) -> None:
    """Run a task in the process that was started for it."""
    # Only the study receives Ctrl-C, and then asks its trainings to stop.
    if sys.platform == 'win32':
        ctypes.windll.kernel32.SetConsoleCtrlHandler(None, True)
    else:
        os.setsid()
    if task.console is not None:
        task.console.parent.mkdir(parents=True, exist_ok=True)
        # Editors read the file as UTF-8, regardless of the encoding of the console.
        sys.stderr = task.console.open('a', 1, encoding='utf-8', errors='backslashreplace')
        os.dup2(sys.stderr.fileno(), 2)
    os.dup2(2, 1)
    # On Windows, Python writes Unicode only to a stream that was a console from the start.
    sys.stdout = sys.stderr
    from mmseg_kd.studies.training import run_task

    run_task(task, study)


def _death(code: int) -> str:
    if code >= 0:
        return f'the training ended with exit code {code} without a message'
    memory = '; the machine may be out of memory' if code == -9 else ''
    return f'the training was killed by signal {-code} ({signal.strsignal(-code)}){memory}'
