"""Fit schedules to the length of the training, and find those that do not fit."""

from collections.abc import Iterator
from typing import Any

from mmengine.logging import print_log
from mmengine.optim import ConstantParamScheduler, LinearParamScheduler
from mmengine.runner import IterBasedTrainLoop, Runner

from mmseg_kd.distillation.schedules import unnested

# The warm-up of a schedule that follows the training takes at most 1 / 10 of it.
WARM_UP_SHARE = 10


def follow_length(schedulers: Any, length: int) -> Any:
    """Fit a config's `param_scheduler` to the length of the training.

    A scheduler without `end` ends with the training, as in mmengine. The warm-up before it is
    shortened to a tenth of the training if it is longer. A scheduler with `end` is not changed.

    Args:
        schedulers: The list of schedulers; anything else is returned unchanged.
        length: Iterations of the training.
    """
    if not isinstance(schedulers, list | tuple):
        return schedulers
    # When resuming, mmengine passes schedulers that are built already.
    fitted = [dict(s) if isinstance(s, dict) else s for s in schedulers]
    by_iter = [s for s in fitted if isinstance(s, dict) and not s.get('by_epoch', True)]
    following = [s for s in by_iter if 'end' not in s]
    first = by_iter[0] if by_iter else {}
    warms_up = first.get('type') == 'LinearLR' and not first.get('begin')
    warm_up = first.get('end', 0) if warms_up else 0
    # At least 2: in a warm-up of one iteration mmengine's LinearLR keeps its first factor for good.
    longest = max(length // WARM_UP_SHARE, 2)
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
    A resumed run continues with the schedules of its checkpoint.
    """
    length = runner.max_iters
    schedulers = runner.param_schedulers if isinstance(runner.param_schedulers, list) else []
    by_iter = [scheduler for scheduler in schedulers if not scheduler.by_epoch]
    last = max(by_iter, key=lambda scheduler: scheduler.end, default=None)
    # A warm-up alone may end early. It fills a training of two iterations, so the next ends later.
    warms_up = isinstance(last, LinearParamScheduler | ConstantParamScheduler)
    if last and length > 2 and (last.end > length or (last.end < length and not warms_up)):
        advice = 'leave `end` out, and it follows the training'
        if runner.iter > 0:
            advice = 'a resumed run keeps the schedule of its checkpoint'
        yield f'param_scheduler ends at iteration {last.end}, the training at {length}; {advice}'
    for scheduler in schedulers if isinstance(runner.train_loop, IterBasedTrainLoop) else ():
        # ReduceOnPlateauLR, which has need_val_args, changes after an evaluation.
        if scheduler.by_epoch and not getattr(scheduler, 'need_val_args', False):
            yield (
                f'param_scheduler: {type(scheduler).__name__} changes its value at the end of an '
                'epoch, and this training has no epochs; write by_epoch=False'
            )
    for name, loss in runner.kd_losses.items():
        for key, value in vars(loss).items():
            # A number, the last of these, has no end.
            for part in unnested(value):
                if (end := getattr(part, 'end', length)) > length:
                    where = f'model.kd_losses.{name}.{key}'
                    yield f'{where}: the schedule ends at {end}, the training at {length}'
