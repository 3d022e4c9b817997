"""The teacher's own score, on record before the student trains."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from mmengine.device import get_device
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_kd.checkpoints import atomic_path
from mmseg_kd.distillation.teacher import Teacher
from mmseg_kd.errors import UserError


@HOOKS.register_module()
class TeacherRecordHook(Hook):
    """Evaluate the teacher on the student's validation split and write `teacher.json`.

    A teacher that cannot be better than its student is the first thing to rule out. The
    record (config, checkpoint, sha256 and metrics) also goes into the student's checkpoints.
    It is read back instead of measured again while teacher and data stay the same. Without
    a teacher the hook does nothing.

    Args:
        evaluate: False records the file alone, without the metrics.
    """

    priority = 'LOW'

    def __init__(self, evaluate: bool = True) -> None:
        self.evaluate = evaluate

    def before_train(self, runner: Runner) -> None:
        """Measure or read back, tell, and keep the record."""
        teacher = getattr(runner.bare_model, 'teacher', None)
        if teacher is None:
            return
        identity = {
            'config': teacher.config,
            'checkpoint': teacher.checkpoint,
            'sha256': teacher.sha256,
            'data': _describe_data(runner),
        }
        classes = runner.train_dataloader.dataset.metainfo.get('classes')
        if teacher.classes and classes and list(teacher.classes) != list(classes):
            raise UserError(
                f'the teacher ({teacher.checkpoint}) was trained on other classes or in another '
                f'order: {list(teacher.classes)}, the student on {list(classes)}'
            )
        earlier = runner.message_hub.get_info('teacher')
        if earlier and earlier['sha256'] != teacher.sha256:
            runner.logger.warning(
                f'until here the teacher was {earlier["checkpoint"]} (sha256 '
                f'{earlier["sha256"][:8]}); this is another file'
            )
        file = Path(runner.work_dir) / 'teacher.json'
        # One process decides: on a network folder another may not see the file yet.
        records = [_read(file, identity) if is_main_process() else None]
        broadcast_object_list(records)
        (record,) = records
        if record is None:
            measured = self.evaluate and runner.val_loop is not None
            record = identity | {'metrics': _evaluate(runner, teacher) if measured else {}}
            if is_main_process():
                with atomic_path(file) as partial:
                    Path(partial).write_text(json.dumps(record, indent=2), encoding='utf-8')
        runner.message_hub.update_info('teacher', record)
        if record['metrics']:
            scores = ', '.join(f'{name} {value:.2f}' for name, value in record['metrics'].items())
            runner.logger.info(f'the teacher on the validation split: {scores}')


def _describe_data(runner: Runner) -> str:
    """Name the validation data, with a hash of all their settings."""
    if runner.val_loop is None:
        return 'none'
    data = runner.val_dataloader.dataset
    # How the images are kept in memory says nothing about them.
    settings = {k: v for k, v in runner.cfg.val_dataloader.dataset.items() if k != 'cache_mib'}
    settings = hashlib.sha256(repr(settings).encode()).hexdigest()[:8]
    return f'{type(data).__name__} {getattr(data, "split", "")}, {len(data)} images, {settings}'


def _read(file: Path, identity: dict) -> dict | None:
    try:
        record = json.loads(file.read_text(encoding='utf-8'))
    except (OSError, json.JSONDecodeError):
        return None
    same = all(record.get(key) == value for key, value in identity.items())
    return record if same and record.get('metrics') else None


@torch.no_grad()
def _evaluate(runner: Runner, teacher: Teacher) -> dict[str, float]:
    runner.logger.info('evaluating the teacher on the validation split')
    evaluator = runner.val_loop.evaluator
    evaluator.dataset_meta = runner.val_dataloader.dataset.metainfo
    segmentor = teacher.segmentor.to(get_device())
    # The data loader draws its seed from the stream that the student trains with.
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        for batch in runner.val_dataloader:
            samples = segmentor.test_step(batch)
            evaluator.process(data_samples=samples, data_batch=batch)
    return evaluator.evaluate(len(runner.val_dataloader.dataset))
