"""Reads folders and files into the collection of a report."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from os.path import commonprefix
from pathlib import Path
from typing import Any

from mmseg_kd.errors import UserError
from mmseg_kd.records.message import Message, message
from mmseg_kd.records.outside_log import SUFFIXES, read_outside_log
from mmseg_kd.records.run_record import RunRecord, read_run
from mmseg_kd.records.study_file import StudyRecord, read_study
from mmseg_kd.reports.comparing.collection import Collection, Group

# Config keys in which two seeds of one setting may differ.
NO_SETTING = ('work_dir', 'randomness', 'load_from', 'resume', 'launcher', 'visualizer')


def read_collection(folders: Sequence[str | Path], baseline: str | None = None) -> Collection:
    """Read studies, work_dirs and tables of outside runs.

    Args:
        folders: Folders of studies, work_dirs, and CSV or Markdown files.
        baseline: Name of the run to compare with. By default the study's baseline, else a run
            named so, else the only run without distillation.

    Raises:
        UserError: The only folder cannot be read, or there is no such baseline.
    """
    plain: list[RunRecord] = []
    studies: list[StudyRecord] = []
    notes: list[Message] = []
    for folder in map(Path, folders):
        if folder.name == 'README.md' and len(folders) > 1:
            # `work_dirs/*` includes the README of the folder.
            continue
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
            notes.append(message('Left out: {error}', error=error))
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


def _by_name(runs: list[RunRecord]) -> list[Group]:
    names = dict.fromkeys(run.name for run in runs)
    return [Group(name, [run for run in runs if run.name == name]) for name in names]


def _by_setting(runs: list[RunRecord]) -> list[Group]:
    groups: dict[str, list[RunRecord]] = {}
    for i, run in enumerate(runs):
        key = _setting(run.config) if run.config and run.seed is not None else str(i)
        if any(other.seed == run.seed for other in groups.get(key, ())):
            # A copy of a run is not a second seed.
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
    """Return the common beginning of the names, or the first name, without the seed."""
    if len(names) == 1:
        return names[0]
    common = re.sub(r'[-_.]*(seed|s)?[-_.]*$', '', commonprefix(names))  # noqa: RUF071
    return common or re.sub(r'[-_.]+(seed|s)?\d+$', '', names[0])


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
