"""The optimizer: its parameter groups, and the precision that training computes in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmseg.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS
from torch import nn

from mmseg_kd.compat import cpu_computes_in
from mmseg_kd.errors import UserError

PRECISIONS = ('highest', 'high', 'medium')


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


def fast_on_cpu(dtype: torch.dtype) -> bool:
    """Whether torch has products of a type for this CPU; else it is far slower than float32."""
    return dtype not in (torch.bfloat16, torch.float16) or cpu_computes_in(dtype)


def set_matmul_precision(precision: str | None, inform: Callable[[str], None]) -> None:
    """Set how float32 products are computed, and report it.

    Args:
        precision: 'highest' (float32), 'high' (TF32 on a GPU) or 'medium', as for
            `torch.set_float32_matmul_precision`; None is 'high' on a GPU and leaves a CPU alone.
        inform: Called with a line for the log.

    Raises:
        UserError: Another word.
    """
    if precision is None:
        if not torch.cuda.is_available():
            return
        precision = 'high'
    if precision not in PRECISIONS:
        raise UserError(f'float32_matmul_precision: {precision!r} is not one of {PRECISIONS}')
    torch.set_float32_matmul_precision(precision)
    # Convolutions have a switch of their own, which torch leaves on.
    torch.backends.cudnn.allow_tf32 = precision != 'highest'
    kind = 'float32' if precision == 'highest' else 'TF32 where the GPU has it'
    inform(f'float32_matmul_precision={precision!r}: float32 products are computed in {kind}')


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class GroupedOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor, with parameters of equal settings in one group.

    With `paramwise_cfg` mmengine makes a group of every parameter, and optimizer and schedulers
    work group by group: hundreds of small updates instead of a few large ones. Each parameter
    keeps its settings, so the training is the same.
    """

    def add_params(
        self,
        params: list[dict],
        module: nn.Module,
        prefix: str = '',
        is_dcn_module: bool | None = None,
    ) -> None:
        """Add the groups of a module; those of the whole model, which has no prefix, merged."""
        super().add_params(params, module, prefix, is_dcn_module)
        if not prefix:
            params[:] = merge_groups(params)


def merge_groups(groups: list[dict]) -> list[dict]:
    """Merge parameter groups that differ in their `params` alone, in order of appearance."""
    merged: dict[str, dict] = {}
    for group in groups:
        settings = {key: value for key, value in sorted(group.items()) if key != 'params'}
        into = merged.setdefault(repr(settings), {'params': [], **settings})
        into['params'] += group['params']
    return list(merged.values())
