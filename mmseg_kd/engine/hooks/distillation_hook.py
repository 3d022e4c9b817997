"""What distillation needs of the training loop."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.utils import apply_to
from mmseg.registry import HOOKS
from torch import Tensor

from mmseg_kd.distillation.gradient_share import share_of
from mmseg_kd.errors import UserError


@HOOKS.register_module()
class DistillationHook(Hook):
    """Tell schedules the iteration, move averaged teachers, keep both in the checkpoints.

    Checkpoints that can be resumed get an entry `distillation` with the losses' adapters, the
    weights of `GradientShare` and the averaged teachers; the student's `state_dict` stays the
    plain model's. Without a teacher the hook does nothing.
    """

    def before_train(self, runner: Runner) -> None:
        """Begin the averages; the student's own weights are there now."""
        if getattr(runner.bare_model, 'kd_losses', None):
            runner.bare_model.start_averages()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Set the iteration that the schedules see."""
        if getattr(runner.bare_model, 'kd_losses', None):
            runner.bare_model.set_iteration(runner.iter)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Let averaged teachers follow, and tell a share's weight once it stands."""
        if not getattr(runner.bare_model, 'kd_losses', None):
            return
        # Gradients may be accumulated over several iterations.
        if runner.optim_wrapper.should_update():
            runner.bare_model.update_teachers()
        for name, loss in runner.bare_model.kd_losses.items():
            share = share_of(loss.loss_weight)
            if share and runner.iter + 1 in (share.until, runner.max_iters):
                if not share.measurements:
                    raise UserError(
                        f'model.kd_losses.{name}: GradientShare has found no weight, because no '
                        "gradient of it, or of the labels, reaches the backbone's stages; write "
                        'a number'
                    )
                state = 'now fixed at' if runner.iter + 1 == share.until else 'at last'
                runner.logger.info(
                    f'{name}: GradientShare(share={share.share:g}) is {state} '
                    f'loss_weight={share.value:.4g}'
                )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add what a resumption needs."""
        if getattr(runner.bare_model, 'kd_losses', None) and 'optimizer' in checkpoint:
            state = runner.bare_model.distillation_state()
            checkpoint['distillation'] = apply_to(
                state, lambda x: isinstance(x, Tensor), lambda x: x.cpu()
            )

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Continue from a resumed checkpoint.

        Raises:
            UserError: It was trained with other losses or teachers.
        """
        model = runner.bare_model
        if not runner.resumes or not getattr(model, 'kd_losses', None):
            return
        if not any(model.distillation_state().values()):
            return
        if 'distillation' not in checkpoint:
            raise UserError(
                'the checkpoint to resume has no entry `distillation`, which gradient shares, '
                'adapters and averaged teachers go on from: start from its weights with load_from'
            )
        model.load_distillation_state(checkpoint['distillation'])
