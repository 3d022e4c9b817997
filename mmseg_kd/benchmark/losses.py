"""What each distillation loss, and measuring its gradient, adds to a training step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from mmengine.config import Config
from mmengine.model import BaseModel

from mmseg_kd.benchmark.steps import train_step
from mmseg_kd.distillation.distillation_losses import DistillationLosses

PLAIN = 'plain step'
REPORT = 'gradient report'


def loss_runs(
    model: BaseModel, cfg: Config, batch: dict[str, Any], dtype: str
) -> dict[str, Callable[[], object]]:
    """What does a training step with one loss more, for an interleaving harness.

    Args:
        model: A student with its teacher, on its device.
        cfg: Its config; the first of its losses is part of every step.
        batch: Of `random_batch`.
        dtype: 'float32', or the type to compute in under autocast.

    Returns:
        Callables: `PLAIN` with the first loss alone, `REPORT` with its gradient measured as
        well, and by the names of the other losses a step with the first and that one.
    """
    losses = dict(model.kd_losses.items())
    for loss in losses.values():
        # One that a schedule puts to 0 would cost nothing, and a share is measured by itself.
        loss.loss_weight = 1.0
    step = train_step(model, cfg, batch, dtype, stock=False)
    first, *others = losses

    def run(names: Iterable[str], measure: bool = False) -> Callable[[], object]:
        def with_losses() -> None:
            model.kd_losses = DistillationLosses({n: losses[n] for n in names}, model.teachers.cfgs)
            if measure:
                model.kd_losses.request_gradients()
            step()

        return with_losses

    return {PLAIN: run([first]), REPORT: run([first], measure=True)} | {
        name: run([first, name]) for name in others
    }
