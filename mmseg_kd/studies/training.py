"""Run one training or test of a study, in the process that `training_process` starts for it."""

import json
import math
import os
import signal
import threading
import time
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from mmseg_kd.checkpoints import find_latest_checkpoint, write_text
from mmseg_kd.command_line import prepare_process, system_message, user_message
from mmseg_kd.config import choose_start, load_config, prepare_test
from mmseg_kd.engine import build_runner
from mmseg_kd.errors import UserError, one_line
from mmseg_kd.studies.settings import fingerprint, flat_settings, without
from mmseg_kd.studies.time_budget import fit_time_budget
from mmseg_kd.studies.training_process import STOP_WITHIN, Task


def run_task(task: Task, study: Connection) -> None:
    """Train or test, and send the error to the study, or None."""
    prepare_process()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Thread(target=_stop_with, args=(study,), daemon=True).start()
    outcome = None
    try:
        if task.checkpoint is None:
            _train(task)
        else:
            _test(task, task.checkpoint)
    except KeyboardInterrupt:
        return
    except UserError as error:
        outcome = user_message(error)
    except Exception as error:
        if (outcome := system_message(error)) is None:
            traceback.print_exc()
            outcome = f'{type(error).__name__}: {one_line(error)}'
    # The study may have closed the connection.
    with suppress(OSError):
        study.send(outcome)


def _stop_with(study: Connection) -> None:
    """Stop when the study closes the connection or dies: another one may continue the run."""
    with suppress(EOFError, OSError):
        study.recv()
    signal.raise_signal(signal.SIGTERM)
    time.sleep(STOP_WITHIN)
    os._exit(1)


def _train(task: Task) -> None:
    """Train as `tools/train.py --resume` does."""
    cfg = plan = load_config(task.config, task.options)
    if task.drawn:
        # Other settings follow the drawn values, such as the size of a padded batch.
        planned = {key: value for key, value in task.options.items() if key not in task.drawn}
        plan = load_config(task.config, planned)
    settings = without(flat_settings(plan), task.options)
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
    # A metric is NaN if no pixel of the split counts for it.
    metrics = {k: float(v) for k, v in build_runner(cfg).test().items() if math.isfinite(v)}
    content = {'checkpoint': Path(checkpoint).name, 'metrics': metrics}
    write_text(Path(checkpoint).with_name('test.json'), json.dumps(content))
