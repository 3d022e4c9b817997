"""The learning rate by the rules of mmsegmentation 0.x, for configs that come from there."""

from __future__ import annotations

import math
from typing import Any

from mmengine.optim import _ParamScheduler
from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mmseg.registry import PARAM_SCHEDULERS

from mmseg_kd.errors import UserError

POLICIES = ('fixed', 'poly', 'CosineAnnealing', 'step')
# The factor in the warm-up, from its ratio and the share of the warm-up that is over.
WARM_UPS = {
    'constant': lambda ratio, share: ratio,
    'linear': lambda ratio, share: 1 - (1 - share) * (1 - ratio),
    'exp': lambda ratio, share: ratio ** (1 - share),
}


@PARAM_SCHEDULERS.register_module()
class LrUpdater(LRSchedulerMixin, _ParamScheduler):
    """mmcv 1.x's `LrUpdaterHook` by iteration: a decay from iteration 0 on, times a warm-up.

    `LinearLR` and `PolyLR` end one iteration earlier, and a chain of them has another value where
    `min_lr` and a warm-up come together.

    Args:
        optimizer: The optimizer wrapper.
        policy: 'fixed', 'poly', 'CosineAnnealing' or 'step'.
        power: Of 'poly'.
        min_lr: Where 'poly' and 'CosineAnnealing' end; the least of 'step'.
        step: Of 'step': an interval, or the iterations of the steps.
        gamma: The factor of a step.
        warmup: None, 'constant', 'linear' or 'exp'.
        warmup_iters: Iterations of the warm-up.
        warmup_ratio: Its first factor.
        **kwargs: `end`, the length of the training by default, and mmengine's other arguments.

    Raises:
        UserError: There is no such policy or warm-up.
    """

    def __init__(
        self,
        optimizer: Any,
        policy: str,
        power: float = 1.0,
        min_lr: float = 0.0,
        step: int | list[int] | None = None,
        gamma: float = 0.1,
        warmup: str | None = None,
        warmup_iters: int = 0,
        warmup_ratio: float = 0.1,
        **kwargs: Any,
    ) -> None:
        for key, value, known in (
            ('policy', policy, POLICIES),
            ('warmup', warmup, (None, *WARM_UPS)),
        ):
            if value not in known:
                raise UserError(f'param_scheduler: {key}={value!r} is not one of {known}')
        if policy == 'step' and not step:
            raise UserError("param_scheduler: policy='step' needs step=N or step=[N, ...]")
        self.policy, self.power, self.min_lr, self.gamma = policy, power, min_lr, gamma
        # Not `self.step`, which is the method that moves a scheduler.
        self.steps = step
        self.warmup, self.warmup_iters, self.warmup_ratio = warmup, warmup_iters, warmup_ratio
        super().__init__(optimizer, **kwargs)

    def _get_value(self) -> list[float]:
        factor = 1.0
        if self.warmup and self.last_step < self.warmup_iters:
            share = self.last_step / self.warmup_iters
            factor = WARM_UPS[self.warmup](self.warmup_ratio, share)
        return [factor * self._decayed(base) for base in self.base_values]

    def _decayed(self, base: float) -> float:
        progress = self.last_step / (self.end - self.begin)
        if self.policy == 'poly':
            return (base - self.min_lr) * (1 - progress) ** self.power + self.min_lr
        if self.policy == 'CosineAnnealing':
            return self.min_lr + 0.5 * (base - self.min_lr) * (1 + math.cos(math.pi * progress))
        if self.policy == 'step':
            if isinstance(self.steps, int):
                count = self.last_step // self.steps
            else:
                count = sum(step <= self.last_step for step in self.steps)
            return max(base * self.gamma**count, self.min_lr)
        return base
