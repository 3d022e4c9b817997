"""What is checked, tidied and reported before a training starts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.runner import Runner

from mmseg_kd.checkpoints import find_latest_checkpoint, remove_file
from mmseg_kd.config.errors import config_errors
from mmseg_kd.engine.hooks.distillation_hook import DistillationHook
from mmseg_kd.engine.optim import set_matmul_precision
from mmseg_kd.engine.summary import describe_run, differing_crops, slow_precisions
from mmseg_kd.errors import UserError


def prepare_training(runner: Runner) -> None:
    """Load the teacher, check what no constructor does, and log what the run is.

    Raises:
        UserError: The teacher or a key of the config cannot be used.
    """
    model = runner.bare_model
    if hasattr(model, 'build_teacher'):
        with config_errors(runner.cfg):
            model.build_teacher()
        hooked = any(isinstance(hook, DistillationHook) for hook in runner.hooks)
        if model.needs_hook and not hooked:
            raise UserError(
                'schedules, GradientShare, adapters and EMATeacher need '
                "default_hooks.distillation=dict(type='DistillationHook')"
            )
    for name in runner.cfg.get('activation_checkpointing') or ():
        try:
            model.get_submodule(name)
        except AttributeError as error:
            raise UserError(f'activation_checkpointing: {name!r}: {error}') from error
    if is_main_process():
        # A run that was killed while it wrote left these.
        for leftover in Path(runner.work_dir).glob('.*.tmp*'):
            remove_file(leftover)
    runner.logger.info(describe_run(runner))
    set_matmul_precision(runner.cfg.get('float32_matmul_precision'), runner.logger.info)
    for remark in [*slow_precisions(runner), *differing_crops(runner.cfg)]:
        runner.logger.warning(remark)


@contextmanager
def reporting_interruptions(runner: Runner) -> Iterator[None]:
    """Log where a training in this block stopped, and how to continue it."""
    try:
        yield
    except (KeyboardInterrupt, OSError) as error:
        how = 'stopped' if isinstance(error, OSError) else 'interrupted'
        latest = find_latest_checkpoint(runner.work_dir)
        advice = f'{latest.name} is there, continue with --resume' if latest else 'nothing saved'
        runner.logger.warning(f'{how} at iteration {runner.iter}: {advice}')
        raise
