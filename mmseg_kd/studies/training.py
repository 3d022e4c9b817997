"""One training of a study, in the process that `training_process` starts for it."""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmseg_kd.checkpoints import atomic_path, find_latest_checkpoint
from mmseg_kd.command_line import prepare_process, user_message
from mmseg_kd.config import choose_start, load_config, prepare_test
from mmseg_kd.engine import build_runner
from mmseg_kd.errors import UserError, one_line
from mmseg_kd.studies.settings import fingerprint, flat_settings, without
from mmseg_kd.studies.training_process import Task


class Pruned(Exception):
    """The study's pruner stopped the training."""


class StudyHook(Hook):
    """Report every evaluation to the study, and stop if its pruner says so.

    Args:
        study: The study's process.
        answers: Its answers to evaluations, whether to stop.
    """

    priority = 'LOWEST'

    def __init__(self, study: Connection, answers: queue.Queue[bool]) -> None:
        self.study, self.answers = study, answers

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Report an evaluation."""
        numbers = {k: float(v) for k, v in (metrics or {}).items() if isinstance(v, int | float)}
        self.study.send(('evaluated', runner.iter, numbers))
        if self.answers.get():
            raise Pruned


def run_task(task: Task, study: Connection) -> None:
    """Train a task and send how it ended to the study."""
    prepare_process()
    # A study that was started in the background passes on that SIGINT is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    answers: queue.Queue[bool] = queue.Queue()
    threading.Thread(target=_listen, args=(study, answers), daemon=True).start()
    try:
        if task.checkpoint is None:
            _train(task, StudyHook(study, answers))
        else:
            _test(task, task.checkpoint)
        outcome = ('done', None)
    except Pruned:
        outcome = ('pruned', None)
    except KeyboardInterrupt:
        outcome = ('interrupted', None)
    except UserError as error:
        outcome = ('failed', user_message(error))
    except Exception as error:
        traceback.print_exc()
        text = f'{type(error).__name__}: {one_line(error)}'
        with suppress(OSError):
            with atomic_path(Path(task.work_dir) / 'error.txt') as partial:
                partial.write_text(traceback.format_exc(), encoding='utf-8')
            text += ' (see error.txt)'
        outcome = ('failed', text)
    study.send(outcome)
    sys.stderr.flush()


def _listen(study: Connection, answers: queue.Queue[bool]) -> None:
    """Follow the study's messages: 'stop', or the answer to an evaluation."""
    with suppress(EOFError, OSError):
        while True:
            message = study.recv()
            if message == 'stop':
                signal.raise_signal(signal.SIGINT)
            else:
                answers.put(message)
    # The study's process is dead: another process may take over this run's folder.
    os._exit(1)


def _train(task: Task, hook: StudyHook) -> None:
    """Train as `tools/train.py --resume` does."""
    cfg = load_config(task.config, task.options)
    settings = without(flat_settings(cfg), task.options)
    if task.fingerprint not in (None, fingerprint(settings)):
        raise UserError(f'{task.config} was edited while the study ran; run the command again')
    cfg.work_dir = task.work_dir
    choose_start(cfg, 'auto' if find_latest_checkpoint(cfg.work_dir) else None)
    runner = build_runner(cfg)
    runner.register_hook(hook)
    runner.train()


def _test(task: Task, checkpoint: str) -> None:
    """Test as `tools/test.py` does, and write `test.json` next to the checkpoint."""
    cfg = load_config(task.config, task.options)
    cfg.work_dir = task.work_dir
    prepare_test(cfg, checkpoint)
    metrics = build_runner(cfg).test()
    content = {'checkpoint': Path(checkpoint).name, 'metrics': metrics}
    with atomic_path(Path(checkpoint).with_name('test.json')) as partial:
        partial.write_text(json.dumps(content), encoding='utf-8')
