"""Hooks, registered in mmseg's own registry."""

from mmseg_kd.engine.hooks.confusion_record_hook import ConfusionRecordHook
from mmseg_kd.engine.hooks.deferred_info_hook import DeferredInfoHook
from mmseg_kd.engine.hooks.distillation_hook import DistillationHook
from mmseg_kd.engine.hooks.gradient_report_hook import GradientReportHook
from mmseg_kd.engine.hooks.non_finite_loss_hook import NonFiniteLossHook
from mmseg_kd.engine.hooks.painting_hook import PaintingHook
from mmseg_kd.engine.hooks.prediction_grid_hook import PredictionGridHook
from mmseg_kd.engine.hooks.progress_hook import ProgressHook
from mmseg_kd.engine.hooks.resumable_checkpoint_hook import ResumableCheckpointHook
from mmseg_kd.engine.hooks.teacher_record_hook import TeacherRecordHook

__all__ = [
    'ConfusionRecordHook',
    'DeferredInfoHook',
    'DistillationHook',
    'GradientReportHook',
    'NonFiniteLossHook',
    'PaintingHook',
    'PredictionGridHook',
    'ProgressHook',
    'ResumableCheckpointHook',
    'TeacherRecordHook',
]
