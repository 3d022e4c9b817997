"""`torch.compile` for the blocks of a backbone, mmengine's `compile` key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch._inductor.config
from torch import nn

from mmseg_kd.errors import UserError

# Blocks share their code, and each rate of stochastic depth, precision and mode is one version.
MOST_VERSIONS = 256


def compile_blocks(model: nn.Module, options: dict[str, Any]) -> int:
    """Compile the blocks of a segmentor's backbone; they stay the modules they were.

    mmengine compiles the whole training step, whose data samples, hooks and logged numbers
    torch.compile cannot read. A block is tensors in, tensors out, and what listens to it (the
    taps of distillation) is outside.

    Args:
        model: A segmentor with a `backbone`. One that trains is not compiled for evaluation,
            whose images have other sizes; a frozen one is compiled as it is.
        options: Arguments of `torch.compile`, such as `mode`.

    Returns:
        How many blocks there are.
    """
    torch._dynamo.config.recompile_limit = MOST_VERSIONS
    torch._dynamo.config.accumulated_recompile_limit = MOST_VERSIONS
    # Whoever listens to a part of a block is heard, also where it begins to in mid-training.
    torch._dynamo.config.skip_nnmodule_hook_guards = False
    # Stochastic depth drops the samples that it would without.
    torch._inductor.config.fallback_random = True
    # The gradients of several losses are taken one after another.
    torch._functorch.config.donated_buffer = False
    # Sizes that differ by stage are constants; inductor cannot order what it does not know.
    options = {'dynamic': False, **options}
    trains = any(parameter.requires_grad for parameter in model.backbone.parameters())
    blocks = list(_blocks(model.backbone))
    for block in blocks:
        plain = type(block).forward
        forward = torch.compile(plain, **options)
        if trains:
            forward = partial(_with_gradients, forward, plain)
        # As a partial it is copied with the block; a bound method would go on with the old one.
        block.forward = partial(forward, block)
    return len(blocks)


def _with_gradients(compiled: Callable, plain: Callable, *args: Any) -> Any:
    return (compiled if torch.is_grad_enabled() else plain)(*args)


def cannot_compile(device: torch.device, options: dict[str, Any]) -> str | None:
    """Why this machine cannot compile, such as the lack of a compiler; None if it can.

    Raises:
        UserError: The options are none of `torch.compile`'s.
    """
    try:
        compiled = torch.compile(_sample, **options)
    except Exception as error:
        raise UserError(f'compile: {_one_line(error)}; write compile=True for defaults') from error
    try:
        compiled(torch.ones(8, device=device))
    except Exception as error:
        # Whatever a backend raises, training goes on without it.
        return _one_line(error)
    return None


def _one_line(error: Exception) -> str:
    return ' '.join(str(error).split())[:160]


def _sample(x: torch.Tensor) -> torch.Tensor:
    return x.sin() + 1


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The members of a module's lists and sequences, of lists in lists too."""
    for child in module.children():
        if isinstance(child, nn.ModuleList | nn.Sequential):
            for block in child:
                # A convolution or a norm alone has nothing to be fused with.
                if not isinstance(block, nn.ModuleList) and next(block.children(), None):
                    yield block
            yield from _blocks(child)
