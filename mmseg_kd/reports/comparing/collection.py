"""The runs of a report, grouped by setting."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import numpy as np

from mmseg_kd.records.class_scores import ClassScores, mean_class_iou
from mmseg_kd.records.message import Message
from mmseg_kd.records.run_record import RunRecord
from mmseg_kd.records.study_file import StudyRecord
from mmseg_kd.reports.comparing.statistics import PairedDifference, paired_difference


@dataclass
class Group:
    """Runs of one setting, one per seed."""

    name: str
    runs: list[RunRecord]

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

    def best_rows(self, metric: str) -> list[tuple[RunRecord, dict[str, float]]]:
        """Return the best evaluation of each counted run that has the metric."""
        rows = [(run, run.best(metric)) for run in self.counted]
        return [(run, row) for run, row in rows if row is not None]

    def best_scores(self, metric: str) -> list[float]:
        """Return the best value of a metric of each counted run that has it."""
        return [row[metric] for _, row in self.best_rows(metric)]

    def mean_score(self, metric: str) -> float:
        """Return the mean of `best_scores`, NaN without any."""
        scores = self.best_scores(metric)
        return fmean(scores) if scores else math.nan

    def by_seed(self, metric: str) -> dict[int, float]:
        """Return the best value of a metric by seed, of the finished runs that have one."""
        return {run.seed: row[metric] for run, row in self.best_rows(metric) if _is_paired(run)}

    def best_classes(self, metric: str) -> list[ClassScores]:
        """Return the class scores at the best evaluation of each counted run that has them."""
        return [scores for _, scores in self._classes(metric)]

    def classes_by_seed(self, metric: str) -> dict[int, ClassScores]:
        """Return `best_classes` by seed, of the finished runs."""
        return {run.seed: scores for run, scores in self._classes(metric) if _is_paired(run)}

    def _classes(self, metric: str) -> list[tuple[RunRecord, ClassScores]]:
        return [
            (run, run.classes[row['iteration']])
            for run, row in self.best_rows(metric)
            if row['iteration'] in run.classes
        ]

    def curves(self, metric: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the iterations (N,) that all counted runs evaluated, and a metric (runs, N)."""
        tables = [
            {r['iteration']: r[metric] for r in run.evaluations if _is_finite(r.get(metric))}
            for run in self.counted
        ]
        tables = [table for table in tables if table]
        if not tables:
            return np.empty(0), np.empty((0, 0))
        common = sorted(set.intersection(*map(set, tables))) or sorted(tables[0])
        rows = [[table[i] for i in common] for table in tables if set(common) <= set(table)]
        return np.array(common), np.array(rows)

    @property
    def distils(self) -> bool:
        """Whether its model has distillation losses."""
        return any(run.kd_losses for run in self.runs)


def _is_paired(run: RunRecord) -> bool:
    return run.state == 'done' and run.seed is not None


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


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
        """Groups with a score, the best mean first."""
        scored = [(group.mean_score(self.metric), group) for group in self.groups]
        scored = [(score, group) for score, group in scored if math.isfinite(score)]
        return [group for _, group in sorted(scored, key=lambda pair: -pair[0])]

    @property
    def taught_from(self) -> list[Group]:
        """Groups whose checkpoint taught another run, the best mean first."""
        cards = (card for run in self.runs for card in run.teachers.values())
        folders = [Path(str(card.get('checkpoint'))).parent for card in cards]
        folders = [folder.parts for folder in set(folders) if folder.parts]
        return [
            group
            for group in self.ranked
            if any(
                # The card may have the path as it is seen from another folder.
                run.source.parts[-len(parts) :] == parts
                for run in group.runs
                for parts in folders
            )
        ]

    @property
    def students(self) -> list[Group]:
        """Groups that are neither the baseline nor a teacher, the best mean first."""
        teachers = [id(group) for group in self.taught_from]
        return [g for g in self.ranked if g is not self.baseline and id(g) not in teachers]

    def compare(self, group: Group) -> PairedDifference | None:
        """Compare a group with the baseline; None if there is none or no common seed."""
        if self.baseline is None or group is self.baseline:
            return None
        return paired_difference(group.by_seed(self.metric), self.baseline.by_seed(self.metric))

    def difference(self, group: Group) -> float | None:
        """Return how many points a group is above the baseline, the one number of a report.

        It is the mean over the seeds that both have. A table of an outside run has no seeds: then
        it is the difference of the means. None where the two cannot be compared.
        """
        if compared := self.compare(group):
            return compared.mean
        pair = (group, self.baseline)
        if None in pair or group is self.baseline or not any(g.runs[0].outside for g in pair):
            return None
        own, base = (g.mean_score(self.metric) for g in pair)
        return own - base if math.isfinite(own - base) else None

    def class_differences(self, group: Group) -> dict[str, float]:
        """Return the IoU of a group minus the baseline by class, in points, over common seeds."""
        if self.baseline is None or group is self.baseline:
            return {}
        own, base = (g.classes_by_seed(self.metric) for g in (group, self.baseline))
        common = sorted(set(own) & set(base))
        means = [mean_class_iou([scores[seed] for seed in common]) for scores in (own, base)]
        differences = {name: iou - means[1].get(name, math.nan) for name, iou in means[0].items()}
        return {name: value for name, value in differences.items() if math.isfinite(value)}


def run_name(run: RunRecord) -> str:
    """Name a run among those of its group."""
    return run.name if run.seed is None else f'{run.name}, seed {run.seed}'
