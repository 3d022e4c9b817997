"""Schedules and the length of the training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.optim import ConstantParamScheduler, LinearParamScheduler, _ParamScheduler
from mmengine.runner import Runner

from mmseg_kd.distillation.schedules import CosineDecay, LinearWarmup, Milestones, Schedule, Stop

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
    # The number of schedulers stays the same for every length: a checkpoint has the state of each.
    longest = max(length // WARM_UP_SHARE, 1)
    warm_up = _warm_up(by_iter)
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


def _warm_up(schedulers: list[dict]) -> int:
    """Iterations of the warm-up that the schedulers begin with."""
    first = schedulers[0] if schedulers else {}
    begins = first.get('type') == 'LinearLR' and not first.get('begin')
    return first.get('end', 0) if begins else 0


class LengthCheckHook(Hook):
    """Report the schedules that do not fit the training's length; every `KDRunner` has this hook.

    It looks at the schedulers as they are when training starts: a resumed run continues with
    those of its checkpoint.
    """

    def before_train(self, runner: Runner) -> None:
        """Log each schedule that ends elsewhere."""
        for problem in misfits(runner):
            runner.logger.warning(problem)


def misfits(runner: Runner) -> Iterator[str]:
    """The schedules of a training that do not fit its length, each in a sentence."""
    length = runner.max_iters
    schedulers = runner.param_schedulers
    if isinstance(schedulers, list):
        yield from _learning_rate(schedulers, length, resumed=runner.iter > 0)
    for name, loss in getattr(runner.bare_model, 'kd_losses', {}).items():
        for key, value in vars(loss).items():
            while isinstance(value, Schedule):
                for end in _ends(value, length):
                    yield (
                        f'model.kd_losses.{name}.{key}: {type(value).__name__} has {end}, but the '
                        f'training ends at iteration {length}'
                    )
                value = value.value


def _learning_rate(
    schedulers: Sequence[_ParamScheduler], length: int, resumed: bool
) -> Iterator[str]:
    by_iter = [(i, s) for i, s in enumerate(schedulers) if not s.by_epoch]
    end = max((s.end for _, s in by_iter), default=length)
    last = [(i, s) for i, s in by_iter if s.end == end]
    warm_up = all(isinstance(s, LinearParamScheduler | ConstantParamScheduler) for _, s in last)
    # After a single iteration of warm-up there is no training left.
    if length < 2 or end == length or (end < length and warm_up):
        return
    course = 'is constant from there on' if end < length else 'does not reach its last value'
    if resumed:
        advice = 'a resumed run keeps the schedule of its checkpoint'
    else:
        lines = ' '.join(f'param_scheduler.{i}.end={length}' for i, _ in last)
        advice = f'write {lines}, or leave `end` out'
    yield (
        f'param_scheduler ends at iteration {end}, the training at {length}: the learning rate '
        f'{course}; {advice}'
    )


def _ends(schedule: Schedule, length: int) -> Iterator[str]:
    """The settings of a schedule that name an iteration after the end of the training.

    A decay that ends before it is named as well: it ended with a shorter training.
    """
    if isinstance(schedule, LinearWarmup | CosineDecay):
        early = isinstance(schedule, CosineDecay) and schedule.end < length
        if schedule.end > length or early:
            yield f'end={schedule.end}'
    elif isinstance(schedule, Stop) and schedule.at_iter >= length:
        yield f'at_iter={schedule.at_iter}'
    elif isinstance(schedule, Milestones) and any(m >= length for m in schedule.milestones):
        yield f'milestones={schedule.milestones}'
