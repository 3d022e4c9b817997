"""Reads folders and files into the collection of a report."""

import json
import re
from collections.abc import Sequence
from os.path import commonprefix
from pathlib import Path
from typing import Any

from mmseg_kd.errors import UserError
from mmseg_kd.nested import value_at
from mmseg_kd.records.message import Message, message
from mmseg_kd.records.run_record import RunRecord, read_run
from mmseg_kd.records.study_file import StudyRecord, read_study
from mmseg_kd.reports.comparing.collection import Collection, Group

# The folder of a run of a study.
SEED = re.compile(r'seed\d+')
# Config keys in which two seeds of one setting may differ.
NO_SETTING = ('work_dir', 'randomness', 'resume', 'launcher', 'visualizer')


def read_collection(folders: Sequence[str | Path], baseline: str | None = None) -> Collection:
    """Read studies and work_dirs.

    Args:
        folders: Folders of studies, and work_dirs.
        baseline: Name of the run to compare with. By default the study's baseline, else a run
            named `base` or `baseline`, else the only run without distillation.

    Raises:
        UserError: No run can be read, a folder is missing, or there is no such baseline.
    """
    plain: list[RunRecord] = []
    studies: list[StudyRecord] = []
    notes: list[Message] = []
    # `work_dirs/*` includes the README of the folder.
    for folder in (path for path in map(Path, folders) if path.name != 'README.md'):
        try:
            if (folder / 'study.json').is_file():
                studies.append(read_study(folder))
            else:
                plain.append(read_run(folder, _name(folder)))
        except UserError as error:
            if len(folders) == 1 or not folder.is_dir():
                raise
            notes.append(message('Left out: {error}', error=error))
    groups = [group for study in studies for group in _by_name(study)]
    groups += _by_setting(plain)
    if not any(group.measured for group in groups):
        unread = f'no run in {", ".join(map(str, folders))} has been evaluated yet'
        raise UserError(str(notes[0]) if notes and not groups else unread)
    _make_unique(groups, studies)
    metric = next((study.metric for study in studies if study.metric), None) or _metric(groups)
    for group in groups:
        group.metric = metric
    if not any(group.best for group in groups):
        known = ', '.join(next(group.measured[0].metrics for group in groups if group.measured))
        raise UserError(f'no run has the metric {metric}; choose from {known}')
    lacking = [f'{g.name} has no {metric}' for g in groups if g.measured and not g.best]
    notes += [message('Left out: {error}', error=text) for text in lacking]
    notes += [note for group in groups for run in group.runs for note in run.notes]
    wanted = next((study.baseline for study in studies if study.baseline), None)
    chosen = _named(groups, baseline) if baseline else _baseline(groups, wanted)
    return Collection(_title(studies or plain), groups, metric, chosen, studies, notes)


def _name(folder: Path) -> str:
    # A study has the folders NAME/seed0, and of a grid NAME/0/seed0.
    parts = folder.absolute().parts
    start = -3 if parts[-2].isdecimal() else -2
    return '/'.join(parts[start:-1]) if SEED.fullmatch(parts[-1]) else parts[-1]


def _by_name(study: StudyRecord) -> list[Group]:
    groups: dict[str, Group] = {}
    for run in study.runs:
        groups.setdefault(run.name, Group(run.name, [])).runs.append(run)
    return list(groups.values())


def _by_setting(runs: list[RunRecord]) -> list[Group]:
    found: dict[str, list[RunRecord]] = {}
    for i, run in enumerate(runs):
        key = _setting(run.config) if run.config and run.seed is not None else str(i)
        # A copy of a run is not a second seed.
        if any(run.seed == other.seed for other in found.get(key, [])):
            key = str(i)
        found.setdefault(key, []).append(run)
    names = [_common_name([run.name for run in same]) for same in found.values()]
    alike = [sorted(same, key=lambda run: run.seed or 0) for same in found.values()]
    return list(map(Group, names, alike))


def _setting(config: dict[str, Any]) -> str:
    # Stock mmsegmentation resumes from `load_from`; elsewhere it is what the training started from.
    left_out = {*NO_SETTING, 'load_from' if config.get('resume') else ''}
    kept = {key: value for key, value in config.items() if key not in left_out}
    if value_at(kept, 'train_cfg.time_budget'):
        # Measured before each run.
        kept['train_cfg'] = kept['train_cfg'] | dict(seconds_per_iter=None, max_iters=None)
    return json.dumps(kept, sort_keys=True, default=repr)


def _common_name(names: list[str]) -> str:
    """Return the common beginning of the names, or the first name, without the seed."""
    if len(set(names)) == 1:
        return names[0]
    # Seeds 41 and 42 have a digit in common. The s of `losses` begins no seed.
    ending = r'[-_.]*(seed[-_.]*\d*|(?<![^-_.])s[-_.]*\d*)?$'
    common = re.sub(ending, '', commonprefix(names))  # noqa: RUF071
    return common or re.sub(r'[-_.]+(seed|s)?\d+$', '', names[0])


def _make_unique(groups: list[Group], studies: list[StudyRecord]) -> None:
    owners = {id(run): study.name for study in studies for run in study.runs}
    taken: set[str] = set()
    for group in groups:
        run = group.runs[0]
        used = group.name.count('/') + bool(SEED.fullmatch(run.source.name))
        for folder in run.source.absolute().parents[used:] if group.name in taken else ():
            group.name = f'{owners.get(id(run), folder.name)}/{group.name}'
            if group.name not in taken:
                break
        taken.add(group.name)


def _metric(groups: list[Group]) -> str:
    measured = [run.metrics for group in groups for run in group.measured]
    common = [name for name in measured[0] if all(name in names for names in measured)]
    return next((name for name in common if re.fullmatch(r'mIoU\d+', name)), 'mIoU')


def _title(parts: Sequence[StudyRecord | RunRecord]) -> str:
    names = [part.name for part in parts]
    return ', '.join(names if len(names) <= 4 else [*names[:3], '…'])


def _named(groups: list[Group], name: str) -> Group:
    for group in groups:
        if name in (group.name, *(run.source.name for run in group.runs)):
            return group
    known = ', '.join(group.name for group in groups[:20])
    raise UserError(f'--baseline {name}: there is no such run; choose from {known}')


def _baseline(groups: list[Group], wanted: str | None) -> Group | None:
    teachers = Collection('', groups, groups[0].metric).teachers
    inside = [group for group in groups if group.measured]
    # A name such as swin_base is a size; a baseline that teaches is named in full.
    others = [g for g in inside if g not in teachers or 'baseline' in g.name]
    plain = [g for g in others if not g.first.kd_losses]
    choices = (
        [g for g in groups if g.name == wanted],
        [g for g in inside if g.name in ('base', 'baseline')],
        [g for g in others if re.search(r'(^|[/_.-])base(line)?($|[/_.-])', g.name)],
        plain if len(plain) < len(inside) else [],
    )
    return next((found[0] for found in choices if len(found) == 1), None)
