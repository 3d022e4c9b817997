"""The hook that updates and saves what distillation needs."""

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.utils import apply_to
from mmseg.registry import HOOKS

from mmseg_kd.errors import UserError
from mmseg_kd.nested import value_at


@HOOKS.register_module()
class DistillationHook(Hook):
    """Set the iteration of the schedules, update the teachers, and save the distillation's state.

    Checkpoints that can be resumed get an entry `distillation` with the losses' adapters, the
    weights of `GradientShare` and the averaged teachers. Their `state_dict` is that of the plain
    student. Without distillation losses the hook does nothing.
    """

    def before_train(self, runner: Runner) -> None:
        """Start the teachers, now that the student's weights are loaded.

        Raises:
            UserError: A `GradientShare` begins after the end of the training.
        """
        if not runner.kd_losses:
            return
        for name, share in runner.kd_losses.gradient_shares.items():
            if share.begin >= runner.max_iters:
                raise UserError(
                    f'model.kd_losses.{name}: GradientShare(begin={share.begin}) measures nothing '
                    f'in {runner.max_iters} iterations; write an earlier begin'
                )
        # Schedules that end at an impossible value are reported now, not hours later.
        runner.kd_losses.set_iteration(runner.max_iters - 1)
        runner.teachers.start(runner.bare_model)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Set the iteration of the schedules."""
        if runner.kd_losses:
            runner.kd_losses.set_iteration(runner.iter)

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Update the teachers, and log the weight that a `GradientShare` has found.

        Raises:
            UserError: A `GradientShare` has found no weight.
        """
        if not runner.kd_losses:
            return
        # With accumulated gradients only some iterations change the student.
        if runner.optim_wrapper.should_update():
            runner.teachers.step(runner.bare_model)
        for name, share in runner.kd_losses.gradient_shares.items():
            if runner.iter + 1 != min(share.until or runner.max_iters, runner.max_iters):
                continue
            if not share.measurements:
                raise UserError(
                    f'model.kd_losses.{name}: GradientShare has found no weight: its gradient, or '
                    "the labels', is 0 or not finite at the backbone's stages; write a number"
                )
            runner.logger.info(
                f'{name}: GradientShare(share={share.share:g}) found loss_weight={share.value:.4g}'
            )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the entry `distillation` to a checkpoint that can be resumed."""
        if runner.kd_losses and 'optimizer' in checkpoint:
            state = runner.bare_model.distillation_state()
            state = apply_to(state, torch.is_tensor, torch.Tensor.cpu)
            checkpoint['distillation'] = state | dict(settings=repr(runner.kd_losses))

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Restore the entry `distillation` of the checkpoint that is resumed.

        Raises:
            UserError: It was trained with other losses or teachers.
        """
        model = runner.bare_model
        if runner.resumes and runner.kd_losses and any(model.distillation_state().values()):
            model.load_distillation_state(checkpoint.get('distillation', {}))
        # After loading, because a `GradientShare` has found its value.
        before = value_at(checkpoint, 'distillation.settings')
        if runner.resumes and before not in (None, repr(runner.kd_losses)):
            runner.logger.warning('model.kd_losses was changed: reports show the new settings')
