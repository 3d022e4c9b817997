"""Private parts of other libraries that the package depends on, each with its reason.

`tests/test_compat.py` fails where a release of a library renames or changes one of them. Methods
that a subclass overrides although their names are private are in `OVERRIDDEN`.

torch, mmcv and mmseg are imported in the functions: they take seconds, and a tool reports a broken
config before it needs them.
"""

from __future__ import annotations

from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

# Private methods of mmengine that this package overrides, and the public one that calls each.
OVERRIDDEN = {
    # Initialise with weights that must fit, and without a line for each parameter in the log.
    'mmengine.runner.Runner._init_model_weights': 'train',
    # Compile the blocks in the place of the whole training step.
    'mmengine.runner.Runner._maybe_compile': 'train',
    # Write a checkpoint whole, with the random state of every process.
    'mmengine.hooks.CheckpointHook._save_checkpoint_with_step': '_save_checkpoint',
    # Keep the best checkpoint until the next is written.
    'mmengine.hooks.CheckpointHook._save_best_checkpoint': 'after_val_epoch',
}

# Messages that mmengine and mmseg log for their own developers, by how they begin: they all have
# the level of what a user looks for.
DEVELOPER_MESSAGES = (
    'System environment', 'Config:', 'Hooks will be executed', 'Distributed training is not used',
    'Load checkpoint', 'resumed epoch', 'Advance dataloader', 'Checkpoints will be saved',
    'Exp name', 'paramwise_options', 'The prefix is not set', '"FileClient"', '"HardDiskBackend"',
    'per class results',
)  # fmt: skip
# How torch's data loader reports a worker that the system ended; its type is RuntimeError.
DEAD_WORKER = ('is killed by signal', 'exited unexpectedly')


def read_configs_with_byte_order_marks() -> None:
    """Make mmengine skip the mark that begins UTF-8 files of Windows' editors.

    `Config.fromfile` opens the files of a config in many places and has no setting for their
    encoding, so the module gets an `open` of its own.
    """
    import mmengine.config.config

    mmengine.config.config.open = _open_without_mark


def _open_without_mark(file: Any, mode: str = 'r', encoding: str | None = None, **kw: Any) -> Any:
    if mode == 'r' and encoding == 'utf-8':
        encoding = 'utf-8-sig'
    return open(file, mode, encoding=encoding, **kw)  # noqa: PTH123


def is_code_of_a_config(frame: FrameType) -> bool:
    """Whether a frame of a traceback ran a config: mmengine's `eval` gives it no `__name__`."""
    return '__name__' not in frame.f_globals


def part_being_built(frame: FrameType) -> tuple[dict, str] | None:
    """Return the dict and the type's name that a frame of a traceback was building, else None.

    mmengine's registry raises what a constructor raised, without saying where in the config the
    constructor's dict is. The name is '' before the type is looked up.
    """
    from mmengine.registry import build_from_cfg

    if frame.f_code is not build_from_cfg.__code__:
        return None
    return frame.f_locals['cfg'], getattr(frame.f_locals.get('obj_cls'), '__name__', '')


def configure_compiler() -> None:
    """Set what `torch.compile` has no arguments for, or none that go together with `mode`."""
    import torch._inductor.config

    # Blocks share their code, and each rate of stochastic depth, precision and mode is one version.
    torch.compiler.config.recompile_limit = 256
    torch.compiler.config.accumulated_recompile_limit = 256
    # A hook on a part of a block is heard, also one that is registered in mid-training.
    torch._dynamo.config.skip_nnmodule_hook_guards = False
    # Stochastic depth drops the samples that it would without compilation.
    torch._inductor.config.fallback_random = True
    # The gradients of several losses are taken one after another.
    torch._functorch.config.donated_buffer = False


def swaps_channels(preprocessor: nn.Module | None) -> bool:
    """Whether a data preprocessor swaps BGR and RGB; it keeps no public record of it."""
    return _takes_images(preprocessor) and preprocessor._channel_conversion


def normalises(preprocessor: nn.Module | None) -> bool:
    """Whether a data preprocessor subtracts a mean and divides by a deviation."""
    return _takes_images(preprocessor) and preprocessor._enable_normalize


def _takes_images(preprocessor: nn.Module | None) -> bool:
    from mmengine.model import ImgDataPreprocessor

    return isinstance(preprocessor, ImgDataPreprocessor)
