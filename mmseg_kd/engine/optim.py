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

    bfloat16 has the range of float32, so the loss needs no scaling. Weights and optimizer state
    stay float32.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the forward pass in autocast on the model's device."""
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, torch.bfloat16):
            yield


def set_matmul_precision(precision: str | None) -> None:
    """Set how float32 matrix products and convolutions are computed.

    Args:
        precision: 'highest' (float32), 'high' (TF32 on a GPU) or 'medium', as for
            `torch.set_float32_matmul_precision`. None means 'high' on a GPU; without a GPU it
            changes nothing.
    """
    if precision or torch.cuda.is_available():
        torch.set_float32_matmul_precision(precision or 'high')
        # The switch of convolutions, which torch turns on by default.
        torch.backends.cudnn.allow_tf32 = precision != 'highest'


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class GroupedOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor; parameters with equal settings share one group.

    With `paramwise_cfg` mmengine makes one group per parameter. Optimizer and schedulers then do
    hundreds of small updates instead of a few large ones. Each parameter keeps its settings, so
    the training is the same.

    `paramwise_cfg` does not apply to what distillation losses train: its keys are parts of names,
    and the name of a loss is free.
    """

    def add_params(self, params: list, module: nn.Module, prefix: str = '', **kwargs: Any) -> None:
        """Add the parameters of a module, which is called `prefix` in the model, to `params`."""
        if prefix == 'kd_losses':
            params += [{'params': [parameter]} for parameter in module.parameters()]
        else:
            super().add_params(params, module, prefix, **kwargs)

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
    """The learning rate of mmcv 1.x's `LrUpdaterHook` by iteration: a decay times a warm-up.

    The decay begins at iteration 0. A chain of mmengine's `LinearLR` and `PolyLR` differs: it ends
    one iteration earlier, and has other values during the warm-up if `min_lr` is not 0.

    Args:
        optimizer: The optimizer wrapper.
        policy: 'fixed', 'poly', 'CosineAnnealing' or 'step'.
        power: The exponent of 'poly'.
        min_lr: The last value of 'poly' and 'CosineAnnealing'; the lower bound of 'step'.
        step: For 'step': the iterations from one step to the next, or a list of the steps.
        gamma: The factor of each step.
        warmup: None, 'constant', 'linear' or 'exp'.
        warmup_iters: Iterations of the warm-up.
        warmup_ratio: The first factor of the warm-up.
        **kwargs: `by_epoch=False`; `end`, the length of the training by default; and mmengine's
            other arguments.

    Raises:
        UserError: The policy or the warm-up is unknown, or 'step' has no `step`.
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
