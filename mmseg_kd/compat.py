"""Private parts of other libraries that the package depends on, each with its reason.

`tests/test_compat.py` fails if a release of a library renames or changes one of them, or a private
method that a subclass overrides.

torch, mmcv and mmseg are imported in the functions: they take seconds, and a tool reports a broken
config before it needs them.
"""

from __future__ import annotations

from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

# How the messages begin that mmengine and mmseg log for their own developers. Their level is that
# of the messages for users.
DEVELOPER_MESSAGES = (
    'System environment', 'Config:', 'Hooks will be executed', 'Distributed training is not used',
    'Load checkpoint', 'resumed epoch', 'Advance dataloader', 'Checkpoints will be saved',
    'Exp name', 'paramwise_options', 'The prefix is not set', '"FileClient"', '"HardDiskBackend"',
    'per class results',
)  # fmt: skip
# The function by which mmengine's registry imports a type with a dotted name.
IMPORTS_TYPES = 'mmengine.registry.registry.get_object_from_string'
# Text of the RuntimeError that torch's data loader raises for a worker that the system ended.
DEAD_WORKER = ('is killed by signal', 'exited unexpectedly')

# The method of a queue of multiprocessing that gets the error of what could not be sent.
FEEDER_ERROR = '_on_queue_feeder_error'


def read_configs_with_byte_order_marks() -> None:
    """Make mmengine skip the mark that begins UTF-8 files of Windows' editors.

    `Config.fromfile` opens the files of a config in many places and has no setting for their
    encoding, so `open` is replaced in its module.
    """
    import mmengine.config.config

    mmengine.config.config.open = _open_without_mark


def _open_without_mark(file: Any, mode: str = 'r', encoding: str | None = None, **kw: Any) -> Any:
    if mode == 'r' and encoding == 'utf-8':
        encoding = 'utf-8-sig'
    return open(file, mode, encoding=encoding, **kw)  # noqa: PTH123


def is_code_of_a_config(frame: FrameType) -> bool:
    """Return whether a frame ran a config's code, which mmengine runs without a `__name__`."""
    return '__name__' not in frame.f_globals


def part_being_built(frame: FrameType) -> tuple[dict, str] | None:
    """Return the config dict and the type's name that a frame was building, else None.

    mmengine's registry passes on a constructor's error without the key of its dict in the config.
    The name is '' before the type is looked up.
    """
    from mmengine.registry import build_from_cfg

    if frame.f_code is not build_from_cfg.__code__:
        return None
    return frame.f_locals['cfg'], getattr(frame.f_locals.get('obj_cls'), '__name__', '')


def configure_compiler() -> None:
    """Set the options that `torch.compile` does not take as arguments together with `mode`."""
    import torch._inductor.config

    # Blocks share their code. Each stochastic depth rate, precision and mode compiles it once more.
    torch.compiler.config.recompile_limit = 256
    torch.compiler.config.accumulated_recompile_limit = 256
    # Call hooks inside a compiled block, also those that are registered during training.
    torch._dynamo.config.skip_nnmodule_hook_guards = False
    # Draw random numbers as without compilation: stochastic depth drops the same samples.
    torch._inductor.config.fallback_random = True
    # Keep the buffers of backward, because the losses' gradients are computed one by one.
    torch._functorch.config.donated_buffer = False


def end_failed_capture(device: int | None, pool: tuple[int, int]) -> None:
    """Free the memory of a CUDA graph whose capture failed.

    torch 2.11 continues as if it were captured: it returns no memory that it has cached, and
    `torch.cuda.empty_cache`, with which each capture begins, raises an error.
    """
    import torch

    # Raised if the capture has ended, as it does in later versions.
    with suppress(RuntimeError):
        torch._C._cuda_endAllocateToPool(device, pool)
        torch._C._cuda_releasePool(device, pool)


def swaps_channels(preprocessor: nn.Module | None) -> bool:
    """Return whether a data preprocessor swaps BGR and RGB."""
    return _takes_images(preprocessor) and preprocessor._channel_conversion


def normalises(preprocessor: nn.Module | None) -> bool:
    """Return whether a data preprocessor subtracts a mean and divides by a deviation."""
    return _takes_images(preprocessor) and preprocessor._enable_normalize


def _takes_images(preprocessor: nn.Module | None) -> bool:
    from mmengine.model import ImgDataPreprocessor

    return isinstance(preprocessor, ImgDataPreprocessor)
