"""Turn `train_cfg.time_budget` into a number of iterations, before a training is built."""

import copy
import math
import tempfile
from pathlib import Path

from mmengine.config import Config

from mmseg_kd.checkpoints import read_checkpoint
from mmseg_kd.errors import UserError
from mmseg_kd.nested import dicts, ending_at, value_at
from mmseg_kd.records.scalars import files_of_starts, read_rows
from mmseg_kd.studies.training_process import Task, run_training

# The hook that times a training.
PACE_HOOK = dict(type='PaceHook')
# More iterations than are timed.
ENDLESS = 10**6
# Hooks that write what a timed training does not need.
NOT_TIMED = ('checkpoint', 'gradient_report', 'teacher_record', 'prediction_grid', 'progress')


def fit_time_budget(cfg: Config) -> None:
    """Set `train_cfg.max_iters` of a config with a `time_budget`, and the schedules that end there.

    `max_iters` becomes `time_budget / seconds_per_iter`. A resumed run takes `seconds_per_iter`
    from its checkpoint, and a config may set it. Otherwise a short training in a separate process
    measures it, so that the random streams of this process stay the same.

    The `end` of a learning rate scheduler or of a loss' schedule that was the old `max_iters`
    becomes the new one; `begin` of the latter moves in proportion. Other iterations stay.

    Args:
        cfg: The config of a training, after `choose_start`; changed in place. One without
            `time_budget` stays as it is.

    Raises:
        UserError: The training cannot be timed, runs in several processes, or resumes a checkpoint
            of a training without a budget.
    """
    loop = cfg.get('train_cfg') or {}
    if loop.get('time_budget') is None:
        return
    if cfg.get('launcher', 'none') != 'none':
        raise UserError('train_cfg.time_budget: several processes cannot be timed; write None')
    if cfg.get('resume'):
        loop.seconds_per_iter = _pace_of(cfg.resume)
    elif loop.get('seconds_per_iter') is None:
        print('time_budget: the iterations are timed in a process of their own', flush=True)
        # Further digits would be noise.
        loop.seconds_per_iter = float(f'{measure(cfg, "train_cfg.time_budget"):.4g}')
    set_length(cfg, max(round(loop.time_budget / loop.seconds_per_iter), 1))


def set_length(cfg: Config, length: int) -> None:
    """Set `max_iters`, and move the schedules that end with the training."""
    before = cfg.train_cfg.get('max_iters')
    cfg.train_cfg.max_iters = length
    if before is None:
        return
    for key, schedule in ending_at(cfg, before):
        schedule['end'] = length
        if key.startswith('param_scheduler.') and isinstance(cfg.param_scheduler, list):
            # In a list, a scheduler without `end` follows the training (`follow_length`).
            del schedule['end']
        elif key.startswith('model.') and schedule.get('begin'):
            schedule['begin'] = round(schedule['begin'] * length / before)


def _pace_of(checkpoint: str | Path) -> float:
    """Return the seconds per iteration with which the run of a checkpoint was planned."""
    pace = value_at(read_checkpoint(checkpoint), 'message_hub.runtime_info.seconds_per_iter')
    if not isinstance(pace, int | float) or not 0 < pace < math.inf:
        raise UserError(
            f'train_cfg.time_budget: {checkpoint} is of a training without one; write None'
        )
    return pace


def measure(cfg: Config, what: str) -> float:
    """Return the seconds per iteration of a short training, in a process of its own.

    Args:
        cfg: The config of a training.
        what: What needs the time, for the message.

    Raises:
        UserError: The training failed.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        config, folder = Path(scratch, 'config.py'), Path(scratch, 'run')
        _short(cfg).dump(config)
        error = run_training(Task(str(config), {}, str(folder)))
        rows = read_rows(files_of_starts(folder))[0]
    found = [row['seconds_per_iter'] for row in rows if 'seconds_per_iter' in row]
    if error or not found:
        raise UserError(f'{what}: the training could not be timed: {error}')
    return found[-1]


def _short(cfg: Config) -> Config:
    """Return the config of the training that is timed: without evaluations and checkpoints."""
    short = copy.deepcopy(cfg)
    short.resume, short.log_level, short.train_cfg.time_budget = False, 'ERROR', None
    set_length(short, ENDLESS)
    short.update(dict.fromkeys(['val_dataloader', 'val_cfg', 'val_evaluator']))
    short.default_hooks = (cfg.get('default_hooks') or {}) | dict.fromkeys(NOT_TIMED)
    short.custom_hooks = [*(cfg.get('custom_hooks') or ()), PACE_HOOK]
    # Other backends may upload the numbers.
    short.visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])
    for _, node in dicts(short.model.get('kd_losses')):
        if node.get('type') == 'GradientShare':
            # A training measures the share only at its start, which is not timed.
            node.update(begin=0, until=1)
        elif node.get('type') == 'LinearWarmup':
            # Before it begins, the loss is not computed and its teacher does not run.
            node['begin'] = 0
    return short
