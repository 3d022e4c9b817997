"""Teachers, taps, schedules, gradient statistics and distillation losses.

`distillation_losses.DistillationLosses` and `teachers.Teachers` are what a student holds.
"""

from mmseg_kd.distillation import ema_teacher  # noqa: F401  (registers EMATeacher)
from mmseg_kd.distillation.base import KDLoss
from mmseg_kd.distillation.gradient_share import GradientShare
from mmseg_kd.distillation.losses import *  # noqa: F403
from mmseg_kd.distillation.losses import __all__ as _losses
from mmseg_kd.distillation.taps import check_taps, list_taps, record_taps
from mmseg_kd.distillation.teacher import Teacher

__all__ = [
    *_losses,
    'GradientShare',
    'KDLoss',
    'Teacher',
    'check_taps',
    'list_taps',
    'record_taps',
]
