"""Hooks, registered in mmseg's own registry."""

# ruff: noqa: F401  (the imports register the hooks)

from mmseg_kd.engine.hooks.deferred_info_hook import DeferredInfoHook
from mmseg_kd.engine.hooks.distillation_hook import DistillationHook
from mmseg_kd.engine.hooks.non_finite_loss_hook import NonFiniteLossHook
from mmseg_kd.engine.hooks.picture_hooks import PaintingHook, PredictionGridHook
from mmseg_kd.engine.hooks.record_hooks import (
    ConfusionRecordHook,
    GradientReportHook,
    TeacherRecordHook,
)
from mmseg_kd.engine.hooks.resumable_checkpoint_hook import ResumableCheckpointHook
from mmseg_kd.engine.hooks.time_hooks import PaceHook, ProgressHook
