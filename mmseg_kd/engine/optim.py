"""The optimizer: parameter groups, precision, and the learning rate of mmsegmentation 0.x."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper, _ParamScheduler
from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mmseg.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, PARAM_SCHEDULERS
from torch import nn

from mmseg_kd.errors import UserError

POLICIES = ('fixed', 'poly', 'CosineAnnealing', 'step')
# The factor in the warm-up, from its ratio and the share of the warm-up that is over.
WARM_UPS = {
    'constant': lambda ratio, share: ratio,
    'linear': lambda ratio, share: 1 - (1 - share) * (1 - ratio),
    'exp': lambda ratio, share: ratio ** (1 - share),
}


@OPTIM_WRAPPERS.register_module()
class Bf16OptimWrapper(OptimWrapper):
    """OptimWrapper that computes in bfloat16 autocast, on the CPU or a GPU.

    bfloat16 has float32's range, so no loss is scaled. Weights and optimizer stay float32.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the forward pass in autocast on the model's device."""
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, torch.bfloat16):
            yield


def set_matmul_precision(precision: str | None) -> None:
    """Set how float32 products are computed.

    Args:
        precision: 'highest' (float32), 'high' (TF32 on a GPU) or 'medium', as for
            `torch.set_float32_matmul_precision`; None is 'high' on a GPU and leaves a CPU alone.
    """
    if precision or torch.cuda.is_available():
        torch.set_float32_matmul_precision(precision or 'high')
        # Convolutions have a switch of their own, which torch leaves on.
        torch.backends.cudnn.allow_tf32 = precision != 'highest'


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class GroupedOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor, with parameters of equal settings in one group.

    With `paramwise_cfg` mmengine makes a group of every parameter, and optimizer and schedulers
    work group by group: hundreds of small updates instead of a few large ones. Each parameter
    keeps its settings, so the training is the same.
    """

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimizer of a model."""
        wrapper = super().__call__(model)
        merged: dict[str, dict] = {}
        for group in wrapper.optimizer.param_groups:
            settings = {key: value for key, value in sorted(group.items()) if key != 'params'}
            into = merged.setdefault(repr(settings), {'params': [], **settings})
            into['params'] += group['params']
        wrapper.optimizer.param_groups = list(merged.values())
        return wrapper


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
        for value, known in ((policy, POLICIES), (warmup, (None, *WARM_UPS))):
            if value not in known:
                raise UserError(f'param_scheduler: LrUpdater: {value!r} is not one of {known}')
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
            factor = WARM_UPS[self.warmup](self.warmup_ratio, self.last_step / self.warmup_iters)
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
