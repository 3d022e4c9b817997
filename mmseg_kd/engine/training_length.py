"""Schedules and the length of the training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from mmengine.logging import print_log
from mmengine.optim import ConstantParamScheduler, LinearParamScheduler, _ParamScheduler
from mmengine.runner import Runner

from mmseg_kd.distillation.schedules import CosineDecay, Schedule

# The longest warm-up of a schedule that follows the training's length.
WARM_UP_SHARE = 10


def follow_length(schedulers: Any, length: int) -> Any:
    """Fit a config's `param_scheduler` to a training; what says where it ends stays as it is.

    A scheduler without `end` ends with the training, as mmengine has it. The warm-up in front of
    it takes at most a tenth of the training.

    Args:
        schedulers: The list of schedulers; anything else is returned.
        length: Iterations of the training.
    """
    if not isinstance(schedulers, list | tuple):
        return schedulers
    # When it resumes, mmengine passes the schedulers that are built.
    fitted = [dict(s) if isinstance(s, dict) else s for s in schedulers]
    by_iter = [s for s in fitted if isinstance(s, dict) and not s.get('by_epoch', True)]
    following = [s for s in by_iter if 'end' not in s]
    first = by_iter[0] if by_iter else {}
    warms_up = first.get('type') == 'LinearLR' and not first.get('begin')
    warm_up = first.get('end', 0) if warms_up else 0
    # The number of schedulers stays the same for every length: a checkpoint has the state of each.
    longest = max(length // WARM_UP_SHARE, 1)
    if following and warm_up > longest:
        print_log(
            f'param_scheduler: the warm-up takes {longest} of {length} iterations in place of '
            f'{warm_up}; to choose it yourself, write `end` in the scheduler after it as well',
            logger='current',
        )
        for scheduler in by_iter:
            scheduler |= {key: longest for key in ('begin', 'end') if scheduler.get(key) == warm_up}
    for scheduler in following:
        scheduler['end'] = max(length, scheduler.get('begin', 0) + 1)
    return fitted


def misfits(runner: Runner) -> Iterator[str]:
    """The schedules of a training that do not fit its length, each in a sentence.

    A resumed run continues with the schedulers of its checkpoint.
    """
    length = runner.max_iters
    if isinstance(runner.param_schedulers, list):
        yield from _learning_rate(runner.param_schedulers, length, resumed=runner.iter > 0)
    for name, loss in runner.kd_losses.items():
        for key, value in vars(loss).items():
            while isinstance(value, Schedule):
                if end := _wrong_end(value, length):
                    yield (
                        f'model.kd_losses.{name}.{key}: {type(value).__name__} has {end}, but the '
                        f'training ends at iteration {length}'
                    )
                value = value.value


def _learning_rate(
    schedulers: Sequence[_ParamScheduler], length: int, resumed: bool
) -> Iterator[str]:
    ends = {i: s.end for i, s in enumerate(schedulers) if not s.by_epoch}
    end = max(ends.values(), default=length)
    last = [i for i in ends if ends[i] == end]
    warm_up = all(
        isinstance(schedulers[i], LinearParamScheduler | ConstantParamScheduler) for i in last
    )
    # After a single iteration of warm-up there is no training left.
    if length < 2 or end == length or (end < length and warm_up):
        return
    course = 'is constant from there on' if end < length else 'does not reach its last value'
    lines = ' '.join(f'param_scheduler.{i}.end={length}' for i in last)
    advice = f'write {lines}, or leave `end` out'
    if resumed:
        advice = 'a resumed run keeps the schedule of its checkpoint'
    yield (
        f'param_scheduler ends at iteration {end}, the training at {length}: the learning rate '
        f'{course}; {advice}'
    )


def _wrong_end(schedule: Schedule, length: int) -> str | None:
    """The setting of a schedule that names an iteration after the end of the training.

    A decay that ends before it is named as well: it ended with a shorter training.
    """
    end = getattr(schedule, 'end', length)
    if end > length or (end < length and isinstance(schedule, CosineDecay)):
        return f'end={end}'
    for key in ('at_iter', 'milestones'):
        value = getattr(schedule, key, None)
        if value and np.max(value) >= length:
            return f'{key}={value}'
    return None
