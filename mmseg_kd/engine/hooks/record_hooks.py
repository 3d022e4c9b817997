"""Write what a run measures into its work_dir: confusion matrices, gradients, the teacher."""

import json
from collections import deque
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process, master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_kd.checkpoints import write_text
from mmseg_kd.distillation import gradient_diagnosis as diagnosis
from mmseg_kd.distillation.teacher import Teacher
from mmseg_kd.paths import relative
from mmseg_kd.records.class_scores import read_confusions
from mmseg_kd.records.gradient_reports import read_reports
from mmseg_kd.records.json_lines import append_json_line, write_json_lines
from mmseg_kd.teacher_report import card
from mmseg_kd.visualization.gradient_figure import gradient_figure


@HOOKS.register_module()
class ConfusionRecordHook(Hook):
    """Write the confusion matrix of each evaluation into `work_dir/confusion.jsonl`.

    A line has `iter`, `classes`, `void` (the name of the void class, or None) and `matrix`,
    the pixels by true class (row) and predicted class (column). The IoU and accuracy of every
    class follow from it. The matrix is the attribute `confusion` of the metric, which
    `SegmentationMetric` has; without such a metric nothing is written.
    """

    priority = 'LOW'

    @master_only
    def before_train(self, runner: Runner) -> None:
        """When resuming, drop the evaluations that will be repeated."""
        file, last = Path(runner.work_dir) / 'confusion.jsonl', runner.iter
        # The checkpoint's own evaluation is repeated unless the checkpoint was written after it.
        repeats = runner.message_hub.get_info('evaluated_iter') != last
        kept = [r for r in read_confusions(file) if r['iter'] < last + (not repeats)]
        write_json_lines(file, kept)

    @master_only
    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Add a line."""
        metrics = runner.val_loop.evaluator.metrics if runner.trains else ()
        for metric in [m for m in metrics if getattr(m, 'confusion', None) is not None][:1]:
            classes = list(metric.dataset_meta['classes'])
            void = getattr(metric, 'void_class', None)
            record = {
                'iter': runner.iter,
                'classes': classes,
                'void': void if void in classes else None,
                'matrix': metric.confusion.long().tolist(),
            }
            append_json_line(Path(runner.work_dir) / 'confusion.jsonl', record)


@HOOKS.register_module()
class GradientReportHook(Hook):
    """Measure regularly how much each distillation loss contributes to the student's gradient.

    For the losses on the labels and for each distillation loss, a report has the gradient norm at
    the student's features and at its logits, and the share of the summed norms at the features. For
    each distillation loss it also has the raw and weighted value, the weight, and the cosine
    similarity of its gradient with that of the losses on the labels.

    A report is one line on the console, one line in `work_dir/gradients.jsonl`, and the scalars
    `gradient/NAME_share`, `_cosine`, `_features` and `_logits` in the log. A warning names a loss
    that is much too weak or too strong, and a better weight. After training, `gradients.png` in the
    work_dir shows all reports.

    With several processes, norms and cosines cover all of them; the values are those of the main
    one, as in the log. The hook does not change the training. Without distillation losses it does
    nothing.

    Args:
        interval: Iterations from one report to the next; the first report is of iteration 0.
    """

    # After the log line of the iteration, before its checkpoint.
    priority = 'LOW'

    def __init__(self, interval: int = 50) -> None:
        self.interval = interval
        self._recent: deque[dict] = deque(maxlen=diagnosis.REPORTS)
        self._warned: set[tuple[str, str]] = set()

    @master_only
    def before_train(self, runner: Runner) -> None:
        """When resuming, drop the reports at or after the current iteration."""
        if not runner.kd_losses:
            return
        file = Path(runner.work_dir) / 'gradients.jsonl'
        reports = [report for report in read_reports(file) if report['iter'] < runner.iter]
        write_json_lines(file, reports)
        for report in reports:
            # The log has these warnings already.
            self._judge(report, runner)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Request a measurement every `interval` iterations, in every process."""
        if runner.kd_losses and runner.iter % self.interval == 0:
            runner.kd_losses.request_gradients()

    def after_train_iter(self, runner: Runner, outputs: dict | None = None, **_: Any) -> None:
        """Report the measurement."""
        gradients = runner.kd_losses.take_gradients() if runner.kd_losses else None
        if gradients is None or not is_main_process():
            return
        report = diagnosis.make_report(runner.iter, gradients, runner.kd_losses, outputs or {})
        runner.logger.info(diagnosis.describe(report))
        for finding in self._judge(report, runner):
            runner.logger.warning(finding.message)
        append_json_line(Path(runner.work_dir) / 'gradients.jsonl', report)
        scalars = {
            f'gradient/{name}_{key}': row[key]
            for name, row in {'task': report['task'], **report['losses']}.items()
            for key in ('share', 'cosine', 'features', 'logits')
            if row.get(key) is not None
        }
        runner.visualizer.add_scalars(scalars, step=runner.iter + 1)

    @master_only
    def after_train(self, runner: Runner) -> None:
        """Draw `gradients.png`."""
        folder = Path(runner.work_dir)
        if runner.kd_losses and (reports := read_reports(folder / 'gradients.jsonl')):
            file = folder / 'gradients.png'
            gradient_figure(reports, file, (diagnosis.OFF, diagnosis.DOMINANT))
            runner.logger.info(f"the losses' shares of the gradient: {relative(file)}")

    def _judge(self, report: dict, runner: Runner) -> list[diagnosis.Finding]:
        """Add a report and return the findings that are new."""
        self._recent.append(report)
        weights = {
            name: diagnosis.full_weight(name, loss.loss_weight)
            for name, loss in runner.kd_losses.items()
        }
        findings = diagnosis.diagnose(self._recent, weights)
        new = [f for name, f in findings.items() if (name, f.condition) not in self._warned]
        self._warned |= {(name, f.condition) for name, f in findings.items()}
        return new


@HOOKS.register_module()
class TeacherRecordHook(Hook):
    """Measure the teacher on the student's validation split and write `teacher.json`.

    A warning says so if the teacher does not beat the baseline. The record of
    `mmseg_kd.teacher_report.card.teacher_card` is also stored in the student's checkpoints, under
    'teacher' in the message hub. With several teachers both have a record per name.

    An averaged teacher (`EMATeacher`) has no file and is not measured. Without a teacher the hook
    does nothing.

    Args:
        evaluate: False records the teacher's file without measuring it.

    Raises:
        UserError: At the start of training: a teacher has other classes, its baseline cannot
            be read, or its logits are not finite.
    """

    priority = 'LOW'

    def __init__(self, evaluate: bool = True) -> None:
        self.evaluate = evaluate

    def before_run(self, runner: Runner) -> None:
        """Check the teachers' classes and read their baselines; a test has no teachers."""
        for name, teacher in _measured(runner).items():
            own = getattr(runner.train_dataloader.dataset, 'metainfo', {}).get('classes')
            card.check_classes(teacher, own)
            if own and not teacher.classes:
                runner.logger.warning(
                    f'{teacher.checkpoint} names no classes, so their order is not compared with '
                    "the student's; write model.teacher.classes=[...] in the order of its ids"
                )
            card.find_baseline(teacher.baseline, name)

    def before_train(self, runner: Runner) -> None:
        """Measure the teachers, then log and store the measurements."""
        if not (teachers := _measured(runner)):
            return
        record = runner.message_hub.get_info('teacher') or {}
        # The record of a single teacher has no name.
        earlier = {'teacher': record} if 'sha256' in record else record
        for name, teacher in teachers.items():
            if name in earlier and earlier[name]['sha256'] != teacher.sha256:
                who = 'teacher' if name == 'teacher' else f'teacher {name!r}'
                runner.logger.warning(
                    f'the {who} has changed since the checkpoint was written: it was '
                    f'{earlier[name]["checkpoint"]} (sha256 {earlier[name]["sha256"][:8]})'
                )
        measures = self.evaluate and runner.val_loop is not None
        data = (runner.val_dataloader, runner.val_loop.evaluator) if measures else (None, None)
        cards = {name: card.teacher_card(t, *data, name) for name, t in teachers.items()}
        record = next(iter(cards.values())) if len(cards) == 1 else cards
        runner.message_hub.update_info('teacher', record)
        if measures:
            runner.logger.info('\n' + card.card_table(cards))
        for warning in card.card_warnings(cards):
            runner.logger.warning(warning)
        if is_main_process():
            write_text(Path(runner.work_dir) / 'teacher.json', json.dumps(record, indent=2))


def _measured(runner: Runner) -> dict[str, Teacher]:
    return {name: t for name, t in runner.teachers.items() if isinstance(t, Teacher)}
