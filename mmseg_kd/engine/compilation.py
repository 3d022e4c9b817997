"""The config keys `compile`, `torch.compile` for the blocks of a backbone, and `cuda_graph`."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.runner import Runner
from torch import nn

from mmseg_kd.compat import configure_compiler
from mmseg_kd.engine.graphed_step import GraphedStep, cannot_record
from mmseg_kd.errors import one_line, user_errors


def compile_training(runner: Runner) -> None:
    """Compile the blocks of student and teachers, where the config's `compile` asks for it."""
    options = runner.cfg.get('compile')
    if not options:
        return
    options = {} if options is True else options
    if reason := cannot_compile(torch.device(get_device()), options):
        runner.logger.warning(f'compile: not possible here, training continues without ({reason})')
        return
    models = [runner.bare_model, *(teacher.segmentor for teacher in runner.teachers.values())]
    count = sum(compile_blocks(model, options) for model in models)
    runner.logger.info(f'compile: {count} blocks; the first iterations take a minute or more')


def record_training_step(runner: Runner) -> None:
    """Record the training step as a CUDA graph, where the config's `cuda_graph` asks for it."""
    reason = 'it needs an NVIDIA GPU'
    if get_device() == 'cuda':
        reason = cannot_record(runner.model, runner.optim_wrapper)
    if not runner.cfg.get('cuda_graph'):
        if reason is None:
            runner.logger.info(
                'cuda_graph=True would record the training step, which then took a fifth of the '
                'time on an H200: see docs/performance.md'
            )
        return
    if reason:
        runner.logger.warning(f'cuda_graph: training runs eagerly ({reason})')
        return
    runner.model.train_step = GraphedStep(runner.model, runner.logger.warning)
    runner.logger.info('cuda_graph: the training step is recorded after three iterations')


def compile_blocks(model: nn.Module, options: dict[str, Any]) -> int:
    """Compile the blocks of a segmentor's backbone, in place.

    mmengine compiles the whole training step, but torch.compile cannot trace its data samples,
    hooks and logged numbers. A block takes and returns tensors only; the hooks of the distillation
    taps are outside.

    Args:
        model: A segmentor with a `backbone`. If it trains, evaluation runs it uncompiled, because
            images of other sizes would be compiled anew; a frozen one always runs compiled.
        options: Arguments of `torch.compile`, for example `mode`.

    Returns:
        The number of blocks.
    """
    configure_compiler()
    # The sizes differ by stage. As constants: inductor cannot compare symbolic sizes.
    options = {'dynamic': False, **options}
    trains = any(parameter.requires_grad for parameter in model.backbone.parameters())
    blocks = list(_blocks(model.backbone))
    for block in blocks:
        plain = type(block).forward
        forward = torch.compile(plain, **options)
        if trains:
            forward = partial(_with_gradients, forward, plain)
        # A partial, so that a copy of the block calls the copy; a bound method calls the original.
        block.forward = partial(forward, block)
    return len(blocks)


def _with_gradients(compiled: Callable, plain: Callable, *args: Any) -> Any:
    return (compiled if torch.is_grad_enabled() else plain)(*args)


def cannot_compile(device: torch.device, options: dict[str, Any]) -> str | None:
    """Return why this machine cannot compile, for example without a compiler; None if it can.

    Raises:
        UserError: `torch.compile` does not accept the options.
    """
    with user_errors('compile: ', Exception, after='; write compile=True', longest=160):
        compiled = torch.compile(nn.SiLU(), **options)
    try:
        compiled(torch.ones(8, device=device))
    except Exception as error:
        # Backends raise errors of any type; training continues without compilation.
        return one_line(error, 160)
    return None


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the blocks in a module's `ModuleList`s and `Sequential`s, at any depth."""
    for child in module.children():
        if isinstance(child, nn.ModuleList | nn.Sequential):
            for block in child:
                # A single convolution or norm has no neighbour to be fused with.
                if not isinstance(block, nn.ModuleList) and next(block.children(), None):
                    yield block
            yield from _blocks(child)
