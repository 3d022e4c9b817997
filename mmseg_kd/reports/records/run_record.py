"""A run, as its work_dir tells it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mmseg_kd.engine.hooks.confusion_record_hook import read_confusions
from mmseg_kd.engine.hooks.gradient_report_hook import read_reports
from mmseg_kd.engine.scalars import scalar_files
from mmseg_kd.errors import UserError
from mmseg_kd.reports.language import Message, say
from mmseg_kd.reports.records.class_scores import ClassScores, class_scores
from mmseg_kd.reports.records.literal_config import read_literals
from mmseg_kd.reports.records.scalar_log import read_scalars
from mmseg_kd.reports.records.training_log import LogFacts, read_logs


@dataclass
class RunRecord:
    """What a run was and what came of it.

    Attributes:
        name: Of the run; runs that differ in the seed alone share it.
        source: Its work_dir, or the file of an outside run.
        seed: Of its random streams; None where it is not known.
        evaluations: By iteration: dicts of `iteration`, metrics in percent, and `lr`.
        training: Columns of what was logged in training, among them `step`.
        config: The config in full; empty where there is none.
        teachers: The teachers' cards by name.
        gradients: The lines of `gradients.jsonl`.
        classes: Scores of the classes by iteration of the evaluation.
        log: What its logs say.
        notes: What could not be read.
        state: As in `study.json`; 'done' or 'unfinished' for a plain work_dir.
        error: Why it failed, in a line.
        params: What a grid or search chose, by dotted key.
        options: All overrides of its study, by dotted key.
    """

    name: str
    source: Path
    seed: int | None = None
    evaluations: list[dict[str, float]] = field(default_factory=list)
    training: dict[str, np.ndarray] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    teachers: dict[str, dict[str, Any]] = field(default_factory=dict)
    gradients: list[dict[str, Any]] = field(default_factory=list)
    classes: dict[int, ClassScores] = field(default_factory=dict)
    log: LogFacts = field(default_factory=LogFacts)
    notes: list[Message] = field(default_factory=list)
    state: str = 'done'
    error: str | None = None
    params: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def outside(self) -> bool:
        """Whether it is a table of another program's run."""
        return self.source.is_file()

    @property
    def metrics(self) -> list[str]:
        """Names of its metrics, in the order of the log."""
        names = dict.fromkeys(name for row in self.evaluations for name in row)
        return [name for name in names if name not in ('iteration', 'lr')]

    @property
    def max_iters(self) -> int | None:
        """How long it was to be."""
        value = (self.config.get('train_cfg') or {}).get('max_iters')
        return value if isinstance(value, int) else None

    @property
    def kd_losses(self) -> dict[str, Any]:
        """Its distillation losses as the config has them, by name."""
        return (self.config.get('model') or {}).get('kd_losses') or {}

    def best(self, metric: str) -> dict[str, float] | None:
        """The evaluation with the most of a metric, the first of equals; None without any."""
        rows = [row for row in self.evaluations if math.isfinite(row.get(metric, math.nan))]
        return max(rows, key=lambda row: row[metric], default=None)

    def best_checkpoint(self, metric: str) -> tuple[Path, float | None] | None:
        """Find the checkpoint that has the most of a metric, among those that are still there.

        Returns:
            The file and its value of the metric. A checkpoint of an iteration that was not
            evaluated has None and comes last, the newest first. None without a checkpoint.
        """
        scores = {row['iteration']: row.get(metric, math.nan) for row in self.evaluations}
        scores = {step: score for step, score in scores.items() if math.isfinite(score)}
        # Of two files of one iteration `best_*.pth` has the weights alone and is smaller.
        found = [file for p in ('iter_*.pth', 'best_*.pth') for file in self.source.glob(p)]
        found.sort(key=lambda file: (scores.get(_iteration(file), -math.inf), _iteration(file)))
        return (found[-1], scores.get(_iteration(found[-1]))) if found else None


def read_run(folder: str | Path, name: str | None = None) -> RunRecord:
    """Read a work_dir. What is damaged is left out and told in the record's notes.

    Args:
        folder: The work_dir.
        name: The run's; else the folder's.

    Raises:
        UserError: There is no such folder, or no training is logged in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f'the work_dir {folder} does not exist')
    files = scalar_files(folder)
    try:
        evaluations, training, notes = read_scalars(files)
    except OSError as error:
        raise UserError(f'{folder} cannot be read: {error}') from error
    if not evaluations and not training:
        raise UserError(
            f'{files[-1]} has no line of a training or an evaluation; the run ended before its '
            'first log line, or the file is damaged'
        )
    record = RunRecord(name or folder.name, folder, notes=notes)
    record.evaluations, record.training = evaluations, training
    record.config = _config(files[-1].with_name('config.py'), notes)
    record.seed = _seed(record.config)
    record.teachers = _teachers(folder / 'teacher.json', notes)
    record.gradients = [r for r in read_reports(folder / 'gradients.jsonl') if _is_report(r)]
    _add_classes(record, folder, files)
    last = max([*training.get('step', []), *(row['iteration'] for row in evaluations)], default=0)
    if record.max_iters and last < record.max_iters:
        record.state = 'unfinished'
    return record


def _add_classes(record: RunRecord, folder: Path, files: list[Path]) -> None:
    confusions = folder / 'confusion.jsonl'
    if confusions.is_file():
        record.classes = {r['iter']: class_scores(r) for r in read_confusions(confusions)}
    logs = [log for file in files for log in sorted(file.parents[1].glob('*.log'))]
    record.log = read_logs(logs, tables=not record.classes)
    tables = record.log.class_iou
    if not record.classes and len(tables) == len(record.evaluations):
        record.classes = {
            row['iteration']: ClassScores(int(row['iteration']), iou)
            for row, iou in zip(record.evaluations, tables, strict=True)
        }


def _config(file: Path, notes: list[Message]) -> dict[str, Any]:
    try:
        return read_literals(file)
    except (OSError, SyntaxError, ValueError) as error:
        notes.append(
            say(
                '{file}: the config cannot be read ({error}).',
                file=file.as_posix(),
                error=getattr(error, 'msg', None) or getattr(error, 'strerror', None) or error,
            )
        )
        return {}


def _seed(config: Mapping[str, Any]) -> int | None:
    seed = (config.get('randomness') or {}).get('seed')
    return seed if isinstance(seed, int) else None


def _teachers(file: Path, notes: list[Message]) -> dict[str, dict[str, Any]]:
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding='utf-8'))
        # One teacher's card is kept without its name.
        cards = {'teacher': content} if 'sha256' in content else content
        return {name: card for name, card in cards.items() if 'sha256' in card}
    except (OSError, ValueError, TypeError, AttributeError):
        notes.append(say('{file}: damaged, left out.', file=file.as_posix()))
        return {}


def _is_report(report: Any) -> bool:
    return (
        isinstance(report, dict)
        and isinstance(report.get('iter'), int)
        and isinstance(report.get('task'), dict)
        and isinstance(report.get('losses'), dict)
        and all(isinstance(row, dict) for row in report['losses'].values())
    )


def _iteration(file: Path) -> int:
    number = file.stem.rpartition('_')[2]
    return int(number) if number.isdigit() else -1
