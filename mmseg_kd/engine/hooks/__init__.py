"""Hooks, registered in mmseg's own registry."""

# ruff: noqa: F401  (the imports register the hooks)

from .deferred_info_hook import DeferredInfoHook
from .distillation_hook import DistillationHook
from .non_finite_loss_hook import NonFiniteLossHook
from .picture_hooks import PaintingHook, PredictionGridHook
from .record_hooks import ConfusionRecordHook, GradientReportHook, TeacherRecordHook
from .resumable_checkpoint_hook import ResumableCheckpointHook
from .time_hooks import PaceHook, ProgressHook
