"""Build the models of a config, and load their weights."""

from mmengine.config import Config
from mmengine.device import get_device
from torch import nn

from mmseg_kd.checkpoints import load_strictly, read_checkpoint
from mmseg_kd.config.errors import config_errors
from mmseg_kd.distillation.teacher import Teacher, build_segmentor, without_distillation
from mmseg_kd.distillation.teachers import teachers_by_name
from mmseg_kd.errors import UserError


def build_models(cfg: Config) -> dict[str, nn.Module]:
    """Build a config's model, called 'student', and its teachers by name.

    Reads no weights. A teacher that is an average of the student is left out.

    Raises:
        UserError: A model cannot be built, or the config of a teacher cannot be read.
    """
    teachers = teachers_by_name(cfg.model.get('teacher') or {})
    with config_errors():
        models = {'student': build_segmentor(cfg.model)}
        for name, teacher in teachers.items():
            if 'config' in teacher:
                models[name] = build_segmentor(teacher['config'])
    return models


def build_student(cfg: Config) -> tuple[nn.Module, dict[str, Teacher]]:
    """Build a student without its weights, and its teachers with theirs, by name.

    Raises:
        UserError: A model cannot be built, or no teacher that a loss reads has a checkpoint.
    """
    with config_errors():
        student = build_segmentor(cfg.model)
        if hasattr(student, 'build_teacher'):
            student.build_teacher()
    found = getattr(student, 'teachers', {})
    teachers = {name: teacher for name, teacher in found.items() if isinstance(teacher, Teacher)}
    if not teachers:
        advice = 'write model.teacher=dict(config=..., checkpoint=...) and model.kd_losses'
        raise UserError(f'{cfg.filename} has no teacher with a checkpoint for a loss; {advice}')
    return student, teachers


def load_student(cfg: Config, checkpoint: str) -> nn.Module:
    """Build a config's model without teacher and losses, and load its weights strictly.

    Returns:
        The model in evaluation mode, on the GPU if there is one.

    Raises:
        UserError: The model cannot be built, or the checkpoint cannot be read or does not fit.
    """
    with config_errors():
        model = build_segmentor(without_distillation(cfg.model))
    load_strictly(model, read_checkpoint(checkpoint), checkpoint)
    return model.eval().to(get_device())
