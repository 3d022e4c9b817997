"""One training of a study, in the process that `training_process` starts for it."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from mmseg_kd.checkpoints import atomic_path, find_latest_checkpoint
from mmseg_kd.command_line import prepare_process, user_message
from mmseg_kd.config import choose_start, load_config, prepare_test
from mmseg_kd.engine import build_runner
from mmseg_kd.errors import UserError, one_line
from mmseg_kd.studies.settings import fingerprint, flat_settings, without
from mmseg_kd.studies.time_budget import fit_time_budget
from mmseg_kd.studies.training_process import Task


def run_task(task: Task, study: Connection) -> None:
    """Train a task and send how it ended to the study."""
    prepare_process()
    # A study that was started in the background passes on that SIGINT is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_listen, args=(study,), daemon=True).start()
    try:
        if task.checkpoint is None:
            _train(task)
        else:
            _test(task, task.checkpoint)
        outcome = ('done', None)
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


def _listen(study: Connection) -> None:
    """Stop at the study's message."""
    with suppress(EOFError, OSError):
        while study.recv():
            signal.raise_signal(signal.SIGINT)
    # The study's process is dead: another process may take over this run's folder.
    os._exit(1)


def _train(task: Task) -> None:
    """Train as `tools/train.py --resume` does."""
    cfg = load_config(task.config, task.options)
    settings = without(flat_settings(cfg), task.options)
    if task.fingerprint not in (None, fingerprint(settings)):
        raise UserError(f'{task.config} was edited while the study ran; run the command again')
    cfg.work_dir = task.work_dir
    choose_start(cfg, 'auto' if find_latest_checkpoint(cfg.work_dir) else None)
    fit_time_budget(cfg)
    build_runner(cfg).train()


def _test(task: Task, checkpoint: str) -> None:
    """Test as `tools/test.py` does, and write `test.json` next to the checkpoint."""
    cfg = load_config(task.config, task.options)
    cfg.work_dir = task.work_dir
    prepare_test(cfg, checkpoint)
    metrics = build_runner(cfg).test()
    content = {'checkpoint': Path(checkpoint).name, 'metrics': metrics}
    with atomic_path(Path(checkpoint).with_name('test.json')) as partial:
        partial.write_text(json.dumps(content), encoding='utf-8')
