"""All runs of a report, those that differ in the seed alone together."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from os.path import commonprefix
from pathlib import Path
from statistics import fmean
from typing import Any

from mmseg_kd.errors import UserError
from mmseg_kd.studies.class_scores import ClassScores
from mmseg_kd.studies.language import Message, say
from mmseg_kd.studies.outside_log import SUFFIXES, read_outside_log
from mmseg_kd.studies.run_record import RunRecord, read_run
from mmseg_kd.studies.statistics import PairedDifference, paired_difference
from mmseg_kd.studies.study_file import StudyRecord, read_study

# What two seeds of one setting may differ in.
NO_SETTING = ('work_dir', 'randomness', 'load_from', 'resume', 'launcher', 'visualizer')


@dataclass
class Group:
    """Runs of one setting, a seed each."""

    name: str
    runs: list[RunRecord]

    @property
    def measured(self) -> list[RunRecord]:
        """The runs that were evaluated at least once."""
        return [run for run in self.runs if run.evaluations]

    def best_scores(self, metric: str) -> list[float]:
        """Best value of a metric of each run that has one."""
        rows = [run.best(metric) for run in self.runs]
        return [row[metric] for row in rows if row is not None]

    def by_seed(self, metric: str) -> dict[int, float]:
        """Best value of a metric by seed, of the finished runs that have one."""
        found = {}
        for run in self.runs:
            row = run.best(metric)
            if run.state == 'done' and run.seed is not None and row is not None:
                found[run.seed] = row[metric]
        return found

    def best_classes(self, metric: str) -> list[ClassScores]:
        """Scores of the classes at the best evaluation, of each run that has them."""
        rows = [(run, run.best(metric)) for run in self.runs]
        found = [run.classes.get(row['iteration']) for run, row in rows if row is not None]
        return [scores for scores in found if scores is not None]

    def mean_curve(self, metric: str) -> list[tuple[int, float]]:
        """Iterations that all its evaluated runs have, with the mean of a metric."""
        tables = [
            {r['iteration']: r[metric] for r in run.evaluations if metric in r}
            for run in self.measured
        ]
        common = set.intersection(*map(set, tables)) if tables else set()
        return [(i, fmean(table[i] for table in tables)) for i in sorted(common)]

    @property
    def distils(self) -> bool:
        """Whether its model has distillation losses."""
        return any((run.config.get('model') or {}).get('kd_losses') for run in self.runs)


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
        scores = {id(g): g.best_scores(self.metric) for g in self.groups}
        scored = [group for group in self.groups if scores[id(group)]]
        return sorted(scored, key=lambda g: -sum(scores[id(g)]) / len(scores[id(g)]))

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


def read_collection(folders: Sequence[str | Path], baseline: str | None = None) -> Collection:
    """Read studies, work_dirs and tables of outside runs.

    Args:
        folders: Folders of studies, work_dirs, and CSV or Markdown files.
        baseline: Name of the run to compare with; else the study's, else the one whose name
            says so, else the only one that does not distil.

    Raises:
        UserError: One cannot be read and is the only one, or there is no such baseline.
    """
    plain: list[RunRecord] = []
    studies: list[StudyRecord] = []
    notes: list[Message] = []
    for folder in map(Path, folders):
        try:
            if (folder / 'study.json').is_file():
                studies.append(read_study(folder))
            elif folder.is_file() and folder.suffix.lower() in SUFFIXES:
                plain.append(read_outside_log(folder))
            else:
                plain.append(read_run(folder))
        except UserError as error:
            if len(folders) == 1 or folder.is_file() or not folder.exists():
                raise
            notes.append(say('Left out: {error}', error=error))
    groups = [group for study in studies for group in _by_name(study.runs)] + _by_setting(plain)
    if not any(group.measured for group in groups):
        raise UserError(
            str(notes[0])
            if notes and not groups
            else f'no run in {", ".join(map(str, folders))} has been evaluated yet'
        )
    _make_unique(groups)
    wanted = next((study.metric for study in studies if study.metric), None)
    collection = Collection(_title(studies, folders), groups, _metric(groups, wanted))
    collection.studies = studies
    collection.notes = notes + [note for run in collection.runs for note in run.notes]
    collection.baseline = _baseline(groups, baseline, studies)
    return collection


def best_point(collection: Collection, runs: Sequence[RunRecord]) -> RunRecord | None:
    """The best of the runs that a grid or search chose, None without any."""
    scored = [(run.best(collection.metric), run) for run in runs if run.params]
    scored = [(row[collection.metric], run) for row, run in scored if row is not None]
    return max(scored, key=lambda pair: pair[0])[1] if scored else None


def run_name(run: RunRecord) -> str:
    """Name a run among those of its group."""
    return run.name if run.seed is None else f'{run.name}, seed {run.seed}'


def _by_name(runs: list[RunRecord]) -> list[Group]:
    names = dict.fromkeys(run.name for run in runs)
    return [Group(name, [run for run in runs if run.name == name]) for name in names]


def _by_setting(runs: list[RunRecord]) -> list[Group]:
    groups: dict[str, list[RunRecord]] = {}
    for i, run in enumerate(runs):
        key = _setting(run.config) if run.config and run.seed is not None else str(i)
        if any(other.seed == run.seed for other in groups.get(key, ())):
            # The same run once more is no second seed.
            key = f'{key}{i}'
        groups.setdefault(key, []).append(run)
    return [
        Group(_common_name([r.name for r in group]), sorted(group, key=lambda r: r.seed or 0))
        for group in groups.values()
    ]


def _setting(config: dict[str, Any]) -> str:
    kept = {key: value for key, value in config.items() if key not in NO_SETTING}
    return json.dumps(kept, sort_keys=True, default=repr)


def _common_name(names: list[str]) -> str:
    if len(names) == 1:
        return names[0]
    return re.sub(r'[-_.]*(seed|s)?[-_.]*$', '', commonprefix(names)) or names[0]  # noqa: RUF071


def _make_unique(groups: list[Group]) -> None:
    taken: set[str] = set()
    for group in groups:
        name = group.name
        if name in taken:
            name = f'{group.runs[0].source.parent.name}/{name}'
        number, unique = 2, name
        while unique in taken:
            unique, number = f'{name} ({number})', number + 1
        taken.add(unique)
        group.name = unique


def _metric(groups: list[Group], wanted: str | None) -> str:
    if wanted:
        return wanted
    measured = [run.metrics for group in groups for run in group.measured]
    common = [name for name in measured[0] if all(name in names for names in measured)]
    return next((n for n in common if re.fullmatch(r'mIoU\d+', n)), 'mIoU')


def _title(studies: list[StudyRecord], folders: Sequence[str | Path]) -> str:
    if studies:
        return ', '.join(study.name for study in studies)
    names = [Path(folder).stem for folder in folders]
    return ', '.join(names) if len(names) <= 4 else f'{", ".join(names[:3])}, …'


def _baseline(groups: list[Group], name: str | None, studies: list[StudyRecord]) -> Group | None:
    asked = name or next((study.baseline for study in studies if study.baseline), None)
    if asked:
        for group in groups:
            if asked == group.name or asked in (run.source.name for run in group.runs):
                return group
        if name:
            known = ', '.join(group.name for group in groups[:20])
            raise UserError(f'--baseline {name}: there is no such run; choose from {known}')
    inside = [group for group in groups if group.measured]
    exact = [g for g in inside if g.name in ('base', 'baseline')]
    named = [g for g in inside if re.search(r'(^|[/_.-])base(line)?($|[/_.-])', g.name)]
    plain = [g for g in inside if not g.distils and not g.runs[0].outside]
    for candidates in (exact, named, plain if len(plain) < len(inside) else []):
        if len(candidates) == 1:
            return candidates[0]
    return None
