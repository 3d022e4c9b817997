"""Teachers, taps, schedules, gradient statistics and distillation losses.

A student holds a `distillation_losses.DistillationLosses` and a `teachers.Teachers`.
"""

# ruff: noqa: F401, F403  (the imports register, and are the public names)
from mmseg_kd.distillation.base import KDLoss
from mmseg_kd.distillation.gradients import GradientShare
from mmseg_kd.distillation.losses import *
from mmseg_kd.distillation.taps import check_taps, list_taps, record_taps
from mmseg_kd.distillation.teacher import Teacher
