"""Build the models of a config without their weights."""

from __future__ import annotations

from mmengine.config import Config
from mmseg.registry import MODELS
from torch import nn

from mmseg_kd.checkpoints.initialization import forget_pretrained
from mmseg_kd.config.errors import config_errors
from mmseg_kd.distillation.teacher import build_segmentor
from mmseg_kd.distillation.teachers import teachers_by_name


def build_models(cfg: Config) -> dict[str, nn.Module]:
    """Build a config's model, called 'student', and its teachers by name.

    No file of weights is read. An average of the student is left out.

    Raises:
        UserError: A model cannot be built, or the config of a teacher cannot be read.
    """
    teachers = teachers_by_name(cfg.model.get('teacher') or {})
    forget_pretrained(cfg.model)
    with config_errors():
        models = {'student': MODELS.build(cfg.model)}
        for name, teacher in teachers.items():
            if 'config' in teacher:
                models[name] = build_segmentor(teacher['config'])
    return models
