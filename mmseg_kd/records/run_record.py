"""The record of a run, read from its work_dir."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np

from mmseg_kd.errors import UserError
from mmseg_kd.nested import value_at
from mmseg_kd.records.class_scores import ClassScores, read_class_scores
from mmseg_kd.records.gradient_reports import read_reports
from mmseg_kd.records.json_lines import NUMBER, OPTIONAL_NUMBER, OPTIONAL_TEXT, fits, read_json_file
from mmseg_kd.records.literal_config import parse_literals
from mmseg_kd.records.message import Message, message
from mmseg_kd.records.scalars import SUFFIX, config_of_log, read_rows, scalar_files, split_rows
from mmseg_kd.records.training_log import LogFacts, read_logs

# The form of a teacher report, as far as a report on runs reads it.
CARD = {'sha256': str, 'metrics': {str: NUMBER}, 'deterministic': (bool, NoneType)}
CARD |= dict.fromkeys(('checkpoint', 'data'), OPTIONAL_TEXT)
CARD |= dict.fromkeys(('entropy', 'ece'), OPTIONAL_NUMBER)
CARD |= {'baseline': (NoneType, {'mIoU': NUMBER})}
TEST = {'checkpoint': str, 'metrics': {str: NUMBER}}


# Records are compared by identity, because arrays have no single truth value.
@dataclass(eq=False)
class RunRecord:
    """The settings, scores and logs of a run.

    Attributes:
        name: Name of the run; runs that differ only in the seed share it.
        source: Its work_dir.
        seed: Its random seed; None if not known.
        evaluations: In order: dicts of `iteration` and metrics in percent.
        training: Columns of the training log, among them `step`.
        config: The full config; empty if there is none.
        teachers: The teacher reports by name.
        gradients: The lines of `gradients.jsonl`.
        classes: Scores of the classes by iteration of the evaluation.
        log: Facts from its log files.
        notes: What could not be read.
        state: As in `study.json`; 'done' or 'unfinished' for a plain work_dir.
        error: Why it failed, in one line.
        params: Values that a grid or search chose, by dotted key.
        options: All overrides of its study, by dotted key.
        study_config: The config that its study names; empty outside a study.
        needs: Names of the runs in its study whose checkpoints it takes, by config key.
        test: Metrics of its best checkpoint on the test split; empty if it was not tested.
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
    study_config: str = ''
    needs: dict[str, str] = field(default_factory=dict)
    test: dict[str, float] = field(default_factory=dict)

    @property
    def metrics(self) -> list[str]:
        """Names of its metrics, in the order of the log."""
        names = dict.fromkeys(name for row in self.evaluations for name in row)
        return [name for name in names if name != 'iteration']

    @property
    def max_iters(self) -> int | None:
        """Planned number of iterations; None if not known."""
        return self.whole_number('train_cfg', 'max_iters')

    @property
    def kd_losses(self) -> dict[str, Any]:
        """Settings of its distillation losses, by name."""
        losses = self.setting('model', 'kd_losses')
        return losses if isinstance(losses, dict) else {}

    def setting(self, *keys: str) -> Any:
        """Return the value in its config below these keys; None if there is none."""
        return value_at(self.config, '.'.join(keys))

    def whole_number(self, *keys: str) -> int | None:
        """Return a setting that is a whole number; None if it is anything else."""
        value = self.setting(*keys)
        return value if fits(value, int) else None

    def curve(self, metric: str) -> dict[int, float]:
        """Return the finite values of a metric by iteration."""
        values = {row['iteration']: row.get(metric, math.nan) for row in self.evaluations}
        return {step: value for step, value in values.items() if math.isfinite(value)}

    def best(self, metric: str) -> dict[str, float] | None:
        """Return the evaluation with the highest value of a metric, the first of equal ones."""
        rows = [row for row in self.evaluations if math.isfinite(row.get(metric, math.nan))]
        return max(rows, key=lambda row: row[metric], default=None)

    def best_checkpoint(self, metric: str) -> tuple[Path, float | None] | None:
        """Find the existing checkpoint with the highest value of a metric.

        Returns:
            The file and its value; None without a checkpoint. If no checkpoint is of an evaluated
            iteration, the file is the latest and its value None.
        """
        scores = self.curve(metric)
        # `best_*.pth` holds only the weights and is smaller, so it comes last and wins a tie
        # within an iteration. Of iterations with equal scores the first wins, as in `best`.
        found = [file for p in ('iter_*.pth', 'best_*.pth') for file in self.source.glob(p)]
        if scored := {_iteration(file): file for file in found if _iteration(file) in scores}:
            first = max(scored, key=lambda iteration: (scores[iteration], -iteration))
            return scored[first], scores[first]
        return (max(reversed(found), key=_iteration), None) if found else None


def read_run(folder: str | Path, name: str | None = None) -> RunRecord:
    """Read a work_dir; the record's notes list what is damaged and left out.

    Args:
        folder: The work_dir.
        name: Name of the run (default: the folder's).

    Raises:
        UserError: There is no such folder, or no training is logged in it.
    """
    folder = Path(folder)
    if folder.name in ('', '..'):
        # A run is shown by the name of its folder.
        folder = folder.resolve()
    if not folder.is_dir():
        problem = 'is a file; name a folder' if folder.exists() else 'does not exist'
        raise UserError(f'the work_dir {folder} {problem}')
    files = scalar_files(folder)
    rows, broken = read_rows(files)
    evaluations, training = split_rows(rows)
    if not evaluations and not training:
        problem = 'no line of a training or an evaluation; did the run end early?'
        raise UserError(f'{files[-1]} has {problem}')
    record = RunRecord(name or folder.name, folder, evaluations=evaluations, training=training)
    for file, lines in broken.items():
        note = message(
            '{file}: {count} lines are not JSON and were left out (the first is line {line}).',
            file=file.as_posix(),
            count=len(lines),
            line=lines[0],
        )
        record.notes.append(note)
    record.config = _config(files[-1], record.notes)
    record.seed = record.whole_number('randomness', 'seed')
    record.teachers = _teachers(folder / 'teacher.json', record.notes)
    record.test = read_test(folder).get('metrics', {})
    record.gradients = read_reports(folder / 'gradients.jsonl')
    record.classes = read_class_scores(folder / 'confusion.jsonl', rows)
    record.log = read_logs(sorted([*folder.glob('*.log'), *folder.glob('*/*.log')]))
    last = max([*training.get('step', []), *(row['iteration'] for row in evaluations)])
    if record.max_iters and last < record.max_iters and not record.log.stopped:
        record.state = 'unfinished'
    return record


def _config(scalars: Path, notes: list[Message]) -> dict[str, Any]:
    old = scalars.name.endswith(SUFFIX)
    file = scalars if old else scalars.with_name('config.py')
    try:
        return config_of_log(file) if old else parse_literals(file.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        source = file.as_posix()
        note = message('{file}: the config cannot be read ({error}).', file=source, error=error)
        notes.append(note)
        return {}


def _teachers(file: Path, notes: list[Message]) -> dict[str, dict[str, Any]]:
    content = read_json_file(file) if file.is_file() else {}
    # The report on a single teacher is stored without its name.
    cards = {'teacher': content} if fits(content, CARD) else content
    if fits(cards, {str: CARD}):
        return cards
    notes.append(message('{file}: damaged, left out.', file=file.as_posix()))
    return {}


def read_test(work_dir: Path) -> dict[str, Any]:
    """Read `test.json`: the tested `checkpoint` and its `metrics`; empty if it is not there."""
    content = read_json_file(work_dir / 'test.json')
    return content if fits(content, TEST) else {}


def _iteration(file: Path) -> int:
    number = file.stem.rpartition('_')[2]
    return int(number) if number.isdigit() else -1
