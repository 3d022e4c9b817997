"""What is checked, tidied and reported before a training starts, and where it stopped."""

from __future__ import annotations

from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.runner import Runner

from mmseg_kd.checkpoints import find_latest_checkpoint, remove_file
from mmseg_kd.config.errors import config_errors
from mmseg_kd.engine.hooks.distillation_hook import DistillationHook
from mmseg_kd.engine.optim import set_matmul_precision
from mmseg_kd.engine.summary import describe_run, differing_crops, slow_precisions
from mmseg_kd.engine.trial import try_run
from mmseg_kd.errors import UserError


def prepare_training(runner: Runner) -> None:
    """Build what mmengine would build later, check what no constructor does, log what the run is.

    Raises:
        UserError: The teacher or a key of the config cannot be used.
    """
    model = runner.bare_model
    with config_errors(runner.cfg):
        if hasattr(model, 'build_teacher'):
            model.build_teacher()
        _ = runner.loops
        runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
        try_run(runner)
    hooked = any(isinstance(hook, DistillationHook) for hook in runner.hooks)
    if not hooked and getattr(model, 'needs_hook', False):
        raise UserError(
            'schedules, GradientShare, adapters and EMATeacher need '
            "default_hooks.distillation=dict(type='DistillationHook')"
        )
    for name in runner.cfg.get('activation_checkpointing') or ():
        if name not in dict(model.named_modules()):
            raise UserError(f'activation_checkpointing: the model has no module {name!r}')
    # A run that was killed while it wrote left these.
    for leftover in Path(runner.work_dir).glob('.*.tmp*') if is_main_process() else ():
        remove_file(leftover)
    runner.logger.info(describe_run(runner))
    set_matmul_precision(runner.cfg.get('float32_matmul_precision'), runner.logger.info)
    for remark in [*slow_precisions(runner), *differing_crops(runner.cfg)]:
        runner.logger.warning(remark)


def report_interruption(runner: Runner, error: BaseException) -> None:
    """Log where a training was stopped by an error, and how to continue it."""
    how = 'stopped' if isinstance(error, OSError) else 'interrupted'
    latest = find_latest_checkpoint(runner.work_dir)
    advice = f'{latest.name} is there, continue with --resume' if latest else 'nothing saved'
    runner.logger.warning(f'{how} at iteration {runner.iter}: {advice}')
