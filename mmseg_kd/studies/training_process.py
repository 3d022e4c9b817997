"""Start a training in a process of its own and talk to it.

A training that crashes or is killed for its memory does not end the study, and frees the GPU.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

# Begins a message of a training; all else on its standard output was printed by a library.
MARK = b'\x1emmseg_kd '
# Seconds after which a training that was asked to stop is killed.
STOP_WITHIN = 60.0


@dataclass(frozen=True)
class Task:
    """What to train, and where.

    Attributes:
        config: The config file.
        options: Overrides by dotted key.
        work_dir: Where it writes, and continues from.
        fingerprint: Fingerprint of the planned settings, without `open_keys` and with `marks`; None
            to train any.
        open_keys: Dotted keys that a search chooses.
        marks: Settings that are not in the config.
        evaluations: Whether to report each evaluation and stop if the answer says so.
    """

    config: str
    options: dict[str, Any]
    work_dir: str
    fingerprint: str | None = None
    open_keys: tuple[str, ...] = ()
    marks: dict[str, Any] = field(default_factory=dict)
    evaluations: bool = False


class TrainingProcess:
    """One training in a process of its own.

    Args:
        task: What to train.
        on_evaluation: Called with the iteration and the metrics if the task asks for evaluations;
            True stops the training.
        device: Value of `CUDA_VISIBLE_DEVICES`; None leaves it as it is.
        console: File for the training's console output; None shows it here.
    """

    def __init__(
        self,
        task: Task,
        on_evaluation: Callable[[int, dict[str, float]], bool] | None = None,
        device: str | None = None,
        console: Path | None = None,
    ) -> None:
        self.outcome: dict[str, Any] = {}
        self._on_evaluation = on_evaluation
        self._error: Exception | None = None
        environment = dict(os.environ)
        if device is not None:
            environment['CUDA_VISIBLE_DEVICES'] = device
        self._console = console
        self.process = _start(environment, console)
        self._send(repr(asdict(task)))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Id of the process that trains."""
        return self.process.pid

    def wait(self, seconds: float) -> bool:
        """Wait some seconds and return whether the training has ended."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        # Data loader workers of a killed training keep its output open for a while.
        self._reader.join(2.0)
        if self._error is not None:
            raise self._error
        if not self.outcome:
            self.outcome = {'outcome': 'failed', 'error': _death(self.process.returncode)}
        return True

    def stop(self) -> None:
        """Ask the training to stop, and kill it if it does not."""
        self._send('stop')
        if not self.wait(STOP_WITHIN):
            self.kill()

    def kill(self) -> None:
        """Kill the training; its files are complete at any instant."""
        self.process.kill()
        self.process.wait()

    def _read(self) -> None:
        try:
            for line in self.process.stdout:
                other, _, message = line.partition(MARK)
                if other:
                    self._show(other)
                if message:
                    self._receive(json.loads(message))
        except Exception as error:
            # Otherwise a training that waits for an answer would wait forever.
            self._error = error
            self.process.kill()

    def _receive(self, message: dict[str, Any]) -> None:
        if 'outcome' in message:
            self.outcome = message
            return
        prune = False
        if self._on_evaluation is not None:
            prune = self._on_evaluation(message['step'], message['metrics'])
        self._send('prune' if prune else 'go on')

    def _show(self, printed: bytes) -> None:
        """Show what a library printed while the training was starting."""
        if self._console is not None:
            with self._console.open('ab') as file:
                file.write(printed)
        else:
            sys.stderr.write(printed.decode(errors='backslashreplace'))

    def _send(self, line: str) -> None:
        try:
            self.process.stdin.write(line.encode() + b'\n')
            self.process.stdin.flush()
        except OSError:
            # It has ended; `wait` returns how.
            pass


def _start(environment: dict[str, str], console: Path | None) -> subprocess.Popen:
    # Only the study receives Ctrl-C, and then asks its trainings to stop.
    apart: dict[str, Any] = {'start_new_session': True}
    if sys.platform == 'win32':
        apart = {'creationflags': subprocess.CREATE_NEW_PROCESS_GROUP}
    command = [sys.executable, '-m', 'mmseg_kd.studies.training']
    pipes = {'stdin': subprocess.PIPE, 'stdout': subprocess.PIPE}
    if console is None:
        return subprocess.Popen(command, env=environment, **pipes, **apart)
    console.parent.mkdir(parents=True, exist_ok=True)
    # Editors read the file as UTF-8, whatever the encoding of the console.
    environment['PYTHONIOENCODING'] = 'utf-8:backslashreplace'
    with console.open('ab') as file:
        return subprocess.Popen(command, env=environment, stderr=file, **pipes, **apart)


def _death(code: int) -> str:
    if code >= 0:
        return f'the training ended with exit code {code} without a message'
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f'signal {-code}'
    memory = '; the machine may be out of memory' if name == 'SIGKILL' else ''
    return f'the training was killed by {name}{memory}'
