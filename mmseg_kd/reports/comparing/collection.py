"""The runs of a report, grouped by setting."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from statistics import fmean
from typing import Any, TypeVar

import numpy as np

from mmseg_kd.nested import dicts
from mmseg_kd.records.class_scores import ClassScores, mean_class_iou
from mmseg_kd.records.message import Message
from mmseg_kd.records.run_record import RunRecord
from mmseg_kd.records.study_file import StudyRecord
from mmseg_kd.reports.comparing.statistics import PairedDifference, paired_difference

T = TypeVar('T')
# Keys of a data set that name the data.
DATA_KEYS = ('data_root', 'split', 'ann_file')
# In points: the share of a smaller gap would be a share of chance.
SMALLEST_GAP = 1.0


@dataclass(eq=False)
class Group:
    """Runs of one setting, one per seed.

    Attributes:
        name: Unique in its collection.
        runs: At least one.
        metric: The metric that the report compares.
    """

    name: str
    runs: list[RunRecord]
    metric: str = 'mIoU'

    @property
    def first(self) -> RunRecord:
        """The first counted run, else the first run; its config is that of the group."""
        return (self.counted or self.runs)[0]

    @property
    def params(self) -> dict[str, Any]:
        """The values that a grid or search chose, by dotted key."""
        return self.runs[0].params

    @property
    def seeds(self) -> list[int]:
        """The seeds of the runs, also of those that were not evaluated."""
        return sorted({run.seed for run in self.runs} - {None})

    @property
    def is_control(self) -> bool:
        """Whether a loss has a `control` in place of what the teacher says of the image."""
        losses = self.first.setting('model', 'kd_losses')
        return any(node.get('control') for _, node in dicts(losses))

    @property
    def measured(self) -> list[RunRecord]:
        """The runs that were evaluated at least once."""
        return [run for run in self.runs if run.evaluations]

    @property
    def counted(self) -> list[RunRecord]:
        """The evaluated runs that are finished; all evaluated ones where none is.

        An unfinished run would pull the mean of finished ones down.
        """
        return [run for run in self.measured if run.state == 'done'] or self.measured

    @property
    def finished(self) -> bool:
        """Whether a run is finished."""
        return any(run.state == 'done' for run in self.runs)

    @property
    def failed(self) -> bool:
        """Whether all counted runs failed."""
        return all(run.state == 'failed' for run in self.counted)

    @property
    def best(self) -> list[tuple[RunRecord, dict[str, float]]]:
        """The best evaluation of each counted run that has the metric."""
        rows = [(run, run.best(self.metric)) for run in self.counted]
        return [(run, row) for run, row in rows if row is not None]

    @property
    def scores(self) -> list[tuple[RunRecord, float]]:
        """The metric of each run at its `best`."""
        return self.scores_of(self.metric)

    @property
    def score(self) -> float:
        """The mean of `scores`, NaN without any."""
        scores = self.scores
        return fmean(score for _, score in scores) if scores else math.nan

    def scores_of(self, metric: str, test: bool = False) -> list[tuple[RunRecord, float]]:
        """Return any metric at `best`, or the one of the checkpoint tested on the test split."""
        rows = [(run, run.test) for run in self.counted] if test else self.best
        return [(run, row[metric]) for run, row in rows if math.isfinite(row.get(metric, math.nan))]

    @property
    def classes(self) -> list[tuple[RunRecord, ClassScores]]:
        """The class scores at `best`, of the runs that have them."""
        rows = [(run, run.classes.get(row['iteration'])) for run, row in self.best]
        return [(run, scores) for run, scores in rows if scores is not None]

    def curves(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the iterations (N,) that all counted runs evaluated, and the metric (runs, N).

        N is 0 if the runs end at different iterations, for example with a time budget.
        """
        tables = [run.curve(self.metric) for run, _ in self.best]
        if len({max(table) for table in tables}) != 1:
            return np.empty(0), np.empty((len(tables), 0))
        common = sorted(set.intersection(*map(set, tables)))
        return np.array(common), np.array([[table[i] for i in common] for table in tables])


def by_seed(values: Iterable[tuple[RunRecord, T]]) -> dict[int, T]:
    """Return the values of finished runs by seed."""
    return {run.seed: v for run, v in values if run.state == 'done' and run.seed is not None}


def compare_groups(
    group: Group, other: Group, metric: str, test: bool = False, comparisons: int = 1
) -> PairedDifference | None:
    """Compare the finished runs of two groups by seed.

    Args:
        group: The group.
        other: The group that it is compared with.
        metric: The metric.
        test: Whether to compare on the test split, not at the best evaluation.
        comparisons: As for `paired_difference`.

    Returns:
        The comparison; None without a common seed, or if the two were evaluated on other data.
    """
    if not same_data(group.first, other.first, 'test_dataloader' if test else 'val_dataloader'):
        return None
    scores = (by_seed(g.scores_of(metric, test)) for g in (group, other))
    return paired_difference(*scores, comparisons)


def same_data(run: RunRecord, other: RunRecord, loader: str) -> bool:
    """Return whether no key shows that two runs have different data; a folder may have moved."""
    pairs = ([r.setting(loader, 'dataset', key) for r in (run, other)] for key in DATA_KEYS)
    names = ({PureWindowsPath(str(x)).name.lower() for x in pair if x} for pair in pairs)
    return all(len(pair) < 2 for pair in names)


@dataclass
class Collection:
    """All runs of a report.

    Attributes:
        title: Name of the study, or of the runs.
        groups: The runs by setting, in the order given.
        metric: The metric that is compared.
        baseline: The group that others are compared with, or None.
        studies: The studies among the folders.
        notes: What could not be read or drawn.
    """

    title: str
    groups: list[Group]
    metric: str
    baseline: Group | None = None
    studies: list[StudyRecord] = field(default_factory=list)
    notes: list[Message] = field(default_factory=list)

    @property
    def runs(self) -> list[RunRecord]:
        """All runs."""
        return [run for group in self.groups for run in group.runs]

    @property
    def ranked(self) -> list[Group]:
        """Groups with a score, the best first; then unfinished ones, then failed ones.

        The difference to the baseline decides, over the seeds that both have: a seed that only one
        of them has may be an easy one.
        """

        def score(group: Group) -> float:
            compared = self.compare(group)
            return self.baseline.score + compared.mean if compared else group.score

        scores = {group: score(group) for group in self.groups if group.best}
        return sorted(scores, key=lambda group: (group.failed, not group.finished, -scores[group]))

    @property
    def cards(self) -> list[tuple[Group, str, dict[str, Any]]]:
        """The teacher reports, one per checkpoint and split, with group and name of the teacher."""
        found: dict[tuple[str, str | None], tuple[Group, str, dict[str, Any]]] = {}
        for group in self.groups:
            for name, card in (item for run in group.runs for item in run.teachers.items()):
                found.setdefault((card['sha256'], card['data']), (group, name, card))
        return list(found.values())

    @property
    def teachers(self) -> list[Group]:
        """Groups that taught another run and are not the baseline, in the order of `ranked`."""
        cards = (card for run in self.runs for card in run.teachers.values())
        folders = {Path(str(card.get('checkpoint'))).parent.parts for card in cards} - {()}
        # The paths of a study that was moved are old, but it names the runs that taught.
        needs = (item for run in self.runs for item in run.needs.items())
        names = {name for key, name in needs if key.startswith('model.teacher')}

        def taught(run: RunRecord) -> bool:
            # The path in a record may be relative to another folder.
            parts = run.source.resolve().parts
            return run.name in names or any(parts[-len(p) :] == p for p in folders)

        others = [group for group in self.ranked if group is not self.baseline]
        return [group for group in others if any(map(taught, group.runs))]

    @property
    def compared(self) -> list[Group]:
        """The baseline and the students, in the order of `ranked`; a teacher is not one of them."""
        teachers = self.teachers
        return [group for group in self.ranked if group not in teachers]

    @property
    def students(self) -> list[Group]:
        """Groups that are neither the baseline nor a teacher, in the order of `ranked`.

        A control without a teacher, such as a longer baseline, is left out too. Losses with a
        `control` come last.
        """
        controls = [control for _, control in self.controlled]
        others = [g for g in controls if not any(run.teachers for run in g.runs)]
        students = [g for g in self.compared if g is not self.baseline and g not in others]
        return sorted(students, key=lambda group: group.is_control)

    @property
    def best(self) -> Group | None:
        """The best student, else the best group of all."""
        return next(iter([*self.students, *self.compared, *self.ranked]), None)

    def compare(self, group: Group, test: bool = False) -> PairedDifference | None:
        """Compare a group with the baseline by seed, the same way in every part of the report.

        Args:
            group: The group.
            test: Whether to compare on the test split, not at the best evaluation.

        Returns:
            The comparison; None if there is no baseline or no common seed.
        """
        if self.baseline is None or group is self.baseline:
            return None
        # One interval per pair in the whole report.
        pairs = self.controlled
        count = len(pairs) if (group, self.baseline) in pairs else 1
        return compare_groups(group, self.baseline, self.metric, test, count)

    @property
    def controlled(self) -> list[tuple[Group, Group]]:
        """Groups and their controls, of the studies that name controls."""
        pairs = []
        # Each comparison asks for these, also those of a large search, which has none.
        for study in (study for study in self.studies if study.controls):
            # Another study may have runs of the same names.
            named = {g.runs[0].name: g for g in self.groups if g.runs[0] in study.runs}
            controls = [(a, b) for a, names in study.controls.items() for b in names]
            pairs += [(named[a], named[b]) for a, b in controls if a in named and b in named]
        return pairs

    def gap_closed(self, group: Group) -> float | None:
        """Return the share of the gap from baseline to teacher that a student closes.

        None if the teacher is less than a point above the baseline, or if the student is not above
        it or within noise. The best of several teachers counts. Means are over the seeds that both
        have, as in `compare`.
        """
        compared = self.compare(group)
        above = compared and compared.mean > 0 and compared.verdict != 'noise'
        seeds = compared.seeds if above else ()
        cards = [r.teachers.values() for r in group.counted if r.teachers and r.seed in seeds]
        scores = [max(c['metrics'].get(self.metric, math.nan) for c in row) for row in cards]
        if not scores:
            return None
        base = by_seed(self.baseline.scores)
        gap = fmean(scores) - fmean(base[seed] for seed in seeds)
        return compared.mean / gap if gap >= SMALLEST_GAP else None

    def points(self, study: StudyRecord) -> list[Group]:
        """Return the evaluated points of a study's grid or search, seeds of one point together."""
        points = [group for group in self.groups if group.params and group.runs[0] in study.runs]
        return [group for group in points if math.isfinite(group.score) and not group.failed]

    def paired_classes(self, group: Group) -> list[tuple[ClassScores, ClassScores]]:
        """Return the class scores of a group and of the baseline, for each common seed."""
        if self.baseline is None or group is self.baseline:
            return []
        own, base = (by_seed(g.classes) for g in (group, self.baseline))
        return [(own[seed], base[seed]) for seed in sorted(set(own) & set(base))]

    def class_differences(self, group: Group) -> dict[str, float]:
        """Return the IoU of a group minus the baseline by class, in points, over common seeds."""
        pairs = self.paired_classes(group)
        own, base = (mean_class_iou([pair[i] for pair in pairs]) for i in (0, 1))
        differences = {name: iou - base.get(name, math.nan) for name, iou in own.items()}
        return {name: value for name, value in differences.items() if math.isfinite(value)}


def run_name(run: RunRecord) -> str:
    """Name a run among those of its group."""
    return run.name if run.seed is None else f'{run.name}, seed {run.seed}'
