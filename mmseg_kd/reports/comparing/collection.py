"""All runs of a report, those that differ in the seed alone together."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from mmseg_kd.records.class_scores import ClassScores, mean_class_iou
from mmseg_kd.records.message import Message
from mmseg_kd.records.run_record import RunRecord
from mmseg_kd.records.study_file import StudyRecord
from mmseg_kd.reports.comparing.statistics import PairedDifference, paired_difference


@dataclass
class Group:
    """Runs of one setting, a seed each."""

    name: str
    runs: list[RunRecord]

    @property
    def measured(self) -> list[RunRecord]:
        """The runs that were evaluated at least once."""
        return [run for run in self.runs if run.evaluations]

    @property
    def counted(self) -> list[RunRecord]:
        """The evaluated runs that are finished; all evaluated ones where none is.

        What a run has halfway would pull a mean of finished ones down.
        """
        return [run for run in self.measured if run.state == 'done'] or self.measured

    def best_scores(self, metric: str) -> list[float]:
        """Best value of a metric of each run that counts and has one."""
        rows = [run.best(metric) for run in self.counted]
        return [row[metric] for row in rows if row is not None]

    def mean_score(self, metric: str) -> float:
        """Mean of `best_scores`, NaN without any."""
        scores = self.best_scores(metric)
        return fmean(scores) if scores else math.nan

    def by_seed(self, metric: str) -> dict[int, float]:
        """Best value of a metric by seed, of the finished runs that have one."""
        return {seed: row[metric] for seed, (_, row) in self._best_by_seed(metric).items()}

    def classes_by_seed(self, metric: str) -> dict[int, ClassScores]:
        """Scores of the classes at the best evaluation by seed, of the runs that have them."""
        best = self._best_by_seed(metric)
        found = {seed: run.classes.get(row['iteration']) for seed, (run, row) in best.items()}
        return {seed: scores for seed, scores in found.items() if scores is not None}

    def _best_by_seed(self, metric: str) -> dict[int, tuple[RunRecord, dict[str, float]]]:
        return {
            run.seed: (run, row)
            for run in self.runs
            if run.state == 'done' and run.seed is not None and (row := run.best(metric))
        }

    def best_classes(self, metric: str) -> list[ClassScores]:
        """Scores of the classes at the best evaluation, of each run that counts and has them."""
        rows = [(run, run.best(metric)) for run in self.counted]
        found = [run.classes.get(row['iteration']) for run, row in rows if row is not None]
        return [scores for scores in found if scores is not None]

    def mean_curve(self, metric: str) -> list[tuple[int, float]]:
        """Iterations that all its runs that count have, with the mean of a metric."""
        tables = [
            {r['iteration']: r[metric] for r in run.evaluations if metric in r}
            for run in self.counted
        ]
        common = set.intersection(*map(set, tables)) if tables else set()
        return [(i, fmean(table[i] for table in tables)) for i in sorted(common)]

    @property
    def distils(self) -> bool:
        """Whether its model has distillation losses."""
        return any(run.kd_losses for run in self.runs)


@dataclass
class Collection:
    """What a report is about.

    Attributes:
        title: Name of the study, or of the runs.
        groups: Those of one setting together, in the order given.
        metric: What is compared.
        baseline: The group that others are compared with, or None.
        studies: The studies among the folders.
        notes: What could not be read, and what was decided.
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
        """Compare a group with the baseline; None without one or without a common seed."""
        if self.baseline is None or group is self.baseline:
            return None
        return paired_difference(group.by_seed(self.metric), self.baseline.by_seed(self.metric))

    def difference(self, group: Group) -> float | None:
        """Points that a group has more than the baseline: the one number that a report gives.

        The mean over the seeds that both have. A table of an outside run has no seeds: then the
        difference of the means. None where the two cannot be compared.
        """
        if self.baseline is None or group is self.baseline:
            return None
        if compared := self.compare(group):
            return compared.mean
        if not (group.runs[0].outside or self.baseline.runs[0].outside):
            return None
        difference = group.mean_score(self.metric) - self.baseline.mean_score(self.metric)
        return difference if math.isfinite(difference) else None

    def class_differences(self, group: Group) -> dict[str, float]:
        """Points of IoU that a group has more than the baseline, by class, over common seeds."""
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
