"""Save the confusion matrix of every evaluation."""

from __future__ import annotations

from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_kd.records.class_scores import read_confusions
from mmseg_kd.records.json_lines import append_json_line, write_json_lines


@HOOKS.register_module()
class ConfusionRecordHook(Hook):
    """Write the confusion matrix of each evaluation into `work_dir/confusion.jsonl`.

    A line has `iter`, `classes`, `void` (the name of the void class, or None) and `matrix`,
    the pixels by true class (row) and predicted class (column). Every class's IoU and accuracy
    follow from it. A metric that keeps no `confusion`, as `SegmentationMetric` does, leaves
    nothing to write. Costs a line of text an evaluation.
    """

    priority = 'LOW'

    def before_train(self, runner: Runner) -> None:
        """When resuming, drop the evaluations after the current iteration."""
        if is_main_process():
            file = _file(runner)
            kept = [r for r in read_confusions(file) if r['iter'] <= runner.iter > 0]
            write_json_lines(file, kept)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Add a line."""
        if not is_main_process() or not runner.trains:
            return
        for metric in runner.val_loop.evaluator.metrics:
            matrix = getattr(metric, 'confusion', None)
            if matrix is None:
                continue
            classes = list(metric.dataset_meta['classes'])
            void = getattr(metric, 'void_class', None)
            record = {
                'iter': runner.iter,
                'classes': classes,
                'void': void if void in classes else None,
                'matrix': matrix.long().tolist(),
            }
            append_json_line(_file(runner), record)
            return


def _file(runner: Runner) -> Path:
    return Path(runner.work_dir) / 'confusion.jsonl'
