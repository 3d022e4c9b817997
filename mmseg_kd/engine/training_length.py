"""Schedules and the length of the training."""

from collections.abc import Iterator
from typing import Any

from mmengine.logging import print_log
from mmengine.optim import ConstantParamScheduler, LinearParamScheduler
from mmengine.runner import IterBasedTrainLoop, Runner

from mmseg_kd.distillation.schedules import Schedule

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
    """Yield the schedules that do not fit the training, each in a sentence.

    They end before or after it, or follow epochs, which a training by iterations does not have.

    A resumed run continues with the schedulers of its checkpoint.
    """
    length = runner.max_iters
    schedulers = runner.param_schedulers if isinstance(runner.param_schedulers, list) else []
    by_iter = [scheduler for scheduler in schedulers if not scheduler.by_epoch]
    last = max(by_iter, key=lambda scheduler: scheduler.end, default=None)
    # A warm-up alone ends early. After a single iteration of it there is no training left.
    warms_up = isinstance(last, LinearParamScheduler | ConstantParamScheduler)
    if last and length > 1 and (last.end > length or (last.end < length and not warms_up)):
        advice = 'leave `end` out, and it follows the training'
        if runner.iter > 0:
            advice = 'a resumed run keeps the schedule of its checkpoint'
        yield f'param_scheduler ends at iteration {last.end}, the training at {length}; {advice}'
    for scheduler in schedulers:
        if scheduler.by_epoch and isinstance(runner.train_loop, IterBasedTrainLoop):
            yield (
                f'param_scheduler: {type(scheduler).__name__} changes its value at the end of an '
                'epoch, and this training has no epochs; write by_epoch=False'
            )
    for name, loss in runner.kd_losses.items():
        for key, value in vars(loss).items():
            while isinstance(value, Schedule):
                if (end := getattr(value, 'end', length)) > length:
                    where = f'model.kd_losses.{name}.{key}'
                    yield f'{where}: the schedule ends at {end}, the training at {length}'
                value = value.value
