"""The teacher report at the start of training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_kd.checkpoints import atomic_path
from mmseg_kd.distillation.teacher import Teacher
from mmseg_kd.teacher_report.card import card_table, card_warnings, check_classes, teacher_card


@HOOKS.register_module()
class TeacherRecordHook(Hook):
    """Measure the teacher on the student's validation split and write `teacher.json`.

    Training starts with a warning if the teacher does not beat the baseline. The
    record of `mmseg_kd.teacher_report.card.teacher_card` also goes into the student's
    checkpoints, under 'teacher' in the message hub. With several teachers both hold a record
    for each name.

    An average of the student has no file and is not measured. Without a teacher the hook does
    nothing.

    Args:
        evaluate: False records the file alone, without the measurement.

    Raises:
        UserError: At the start of training: a teacher has other classes, its baseline cannot
            be read, or its logits are not finite.
    """

    priority = 'LOW'

    def __init__(self, evaluate: bool = True) -> None:
        self.evaluate = evaluate

    def before_train(self, runner: Runner) -> None:
        """Measure the teachers, log and store the measurements."""
        teachers = {
            name: teacher
            for name, teacher in getattr(runner.bare_model, 'teachers', {}).items()
            if isinstance(teacher, Teacher)
        }
        if not teachers:
            return
        classes = runner.train_dataloader.dataset.metainfo.get('classes')
        earlier = _by_name(runner.message_hub.get_info('teacher') or {})
        for name, teacher in teachers.items():
            check_classes(teacher, classes)
            if name in earlier and earlier[name]['sha256'] != teacher.sha256:
                who = 'teacher' if name == 'teacher' else f'teacher {name!r}'
                runner.logger.warning(
                    f'until here the {who} was {earlier[name]["checkpoint"]} (sha256 '
                    f'{earlier[name]["sha256"][:8]}); this is another file'
                )
        data = (None, None)
        if self.evaluate and runner.val_loop is not None:
            data = (runner.val_dataloader, runner.val_loop.evaluator)
        cards = {name: teacher_card(teacher, *data, name) for name, teacher in teachers.items()}
        record = next(iter(cards.values())) if len(cards) == 1 else cards
        runner.message_hub.update_info('teacher', record)
        if data[0] is not None:
            runner.logger.info('\n' + card_table(cards))
        for warning in card_warnings(cards):
            runner.logger.warning(warning)
        if is_main_process():
            with atomic_path(Path(runner.work_dir) / 'teacher.json') as partial:
                partial.write_text(json.dumps(record, indent=2), encoding='utf-8')


def _by_name(record: dict[str, Any]) -> dict[str, dict]:
    """Records by name, also where there is one, which is kept without."""
    return {'teacher': record} if 'sha256' in record else record
