"""Save the confusion matrix of every evaluation."""

from __future__ import annotations

from pathlib import Path

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_kd.records.confusions import read_confusions
from mmseg_kd.records.json_lines import append_json_line, write_json_lines


@HOOKS.register_module()
class ConfusionRecordHook(Hook):
    """Write the confusion matrix of each evaluation into `work_dir/confusion.jsonl`.

    A line has `iter`, `classes`, `void` (the name of the void class, or None) and `matrix`,
    the pixels by true class (row) and predicted class (column). Every class's IoU and accuracy
    follow from it. A metric that keeps no `confusion`, as `SegmentationMetric` does, leaves
    nothing to write. Costs a line of text per evaluation.
    """

    priority = 'LOW'

    @master_only
    def before_train(self, runner: Runner) -> None:
        """When resuming, drop the evaluations after the current iteration."""
        file = Path(runner.work_dir) / 'confusion.jsonl'
        write_json_lines(file, [r for r in read_confusions(file) if r['iter'] <= runner.iter > 0])

    @master_only
    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Add a line."""
        for metric in runner.val_loop.evaluator.metrics if runner.trains else ():
            if (matrix := getattr(metric, 'confusion', None)) is None:
                continue
            classes = list(metric.dataset_meta['classes'])
            void = getattr(metric, 'void_class', None)
            record = {
                'iter': runner.iter,
                'classes': classes,
                'void': void if void in classes else None,
                'matrix': matrix.long().tolist(),
            }
            append_json_line(Path(runner.work_dir) / 'confusion.jsonl', record)
            return
