"""One training of a study, in a process of its own: `python -m mmseg_kd.studies.training`.

The first line of standard input is the task. Later lines are `stop`, or the answer to an
evaluation: `go on` or `prune`. The end of standard input means that the study's process has died.
Evaluations and the outcome are JSON objects on standard output, one per line, that begin with
`MARK`. What the training prints goes to standard error.
"""

from __future__ import annotations

import ast
import json
import os
import queue
import signal
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmseg_kd.checkpoints import atomic_path, find_latest_checkpoint
from mmseg_kd.command_line import prepare_process, user_message
from mmseg_kd.config import choose_start, load_config
from mmseg_kd.engine import build_runner
from mmseg_kd.errors import UserError
from mmseg_kd.studies.settings import fingerprint, flat_settings
from mmseg_kd.studies.training_process import MARK, Task


class Pruned(Exception):
    """The study's pruner stopped the training."""


class StudyProcess:
    """The study's process, reached through standard input and output."""

    def __init__(self) -> None:
        # Data loader workers inherit file descriptors 0 and 1 and close them.
        self._input, self._output = os.dup(0), os.dup(1)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdout.flush()
        os.dup2(2, 1)
        # On Windows, Python writes Unicode only to a stream that was a console from the start.
        sys.stdout = sys.stderr
        self._pending = b''
        self._answers: queue.Queue[str] = queue.Queue()

    def read_line(self) -> str:
        """Wait for the next line and return it; an empty text at the end."""
        while b'\n' not in self._pending:
            part = os.read(self._input, 65536)
            if not part:
                return ''
            self._pending += part
        line, _, self._pending = self._pending.partition(b'\n')
        return line.decode()

    def listen(self) -> None:
        """Start a thread that follows the study's commands."""
        # A study that was started in the background passes on that SIGINT is ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while line := self.read_line():
            if line == 'stop':
                signal.raise_signal(signal.SIGINT)
            else:
                self._answers.put(line)
        # The study's process is dead: another process may take over this run's folder.
        os._exit(1)

    def tell(self, **message: Any) -> None:
        """Send a message."""
        os.write(self._output, MARK + json.dumps(message).encode() + b'\n')

    def ask(self, **message: Any) -> str:
        """Send a message and wait for the answer."""
        self.tell(**message)
        return self._answers.get()


class StudyHook(Hook):
    """Report every evaluation to the study, and stop if its pruner says so."""

    priority = 'LOWEST'

    def __init__(self, study: StudyProcess) -> None:
        self.study = study

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Report an evaluation."""
        numbers = {k: float(v) for k, v in (metrics or {}).items() if isinstance(v, int | float)}
        if self.study.ask(step=runner.iter, metrics=numbers) == 'prune':
            raise Pruned


def train(task: Task, study: StudyProcess) -> None:
    """Train as `tools/train.py --resume` does."""
    cfg = load_config(task.config, task.options)
    now = fingerprint(flat_settings(cfg, task.open_keys, task.marks))
    if task.fingerprint not in (None, now):
        raise UserError(f'{task.config} was edited while the study ran; run the command again')
    cfg.work_dir = task.work_dir
    choose_start(cfg, 'auto' if find_latest_checkpoint(cfg.work_dir) else None)
    runner = build_runner(cfg)
    if task.evaluations:
        runner.register_hook(StudyHook(study))
    runner.train()


def main() -> None:
    """Train the task that standard input names."""
    study = StudyProcess()
    prepare_process()
    task = Task(**ast.literal_eval(study.read_line()))
    study.listen()
    try:
        train(task, study)
        study.tell(outcome='done')
    except Pruned:
        study.tell(outcome='pruned')
    except KeyboardInterrupt:
        study.tell(outcome='interrupted')
    except UserError as error:
        study.tell(outcome='failed', error=user_message(error))
    except Exception as error:
        traceback.print_exc()
        text = f'{type(error).__name__}: {" ".join(str(error).split())}'
        with suppress(OSError):
            with atomic_path(Path(task.work_dir) / 'error.txt') as partial:
                partial.write_text(traceback.format_exc(), encoding='utf-8')
            text += ' (see error.txt)'
        study.tell(outcome='failed', error=text)
    sys.stderr.flush()


if __name__ == '__main__':
    main()
