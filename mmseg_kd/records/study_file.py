"""The state of a study, read from `study.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

from mmseg_kd.errors import UserError
from mmseg_kd.records.json_lines import NUMBER, OPTIONAL_TEXT, fits, read_json
from mmseg_kd.records.message import message
from mmseg_kd.records.run_record import RunRecord, read_run

TEXTS = dict.fromkeys(('name', 'work_dir', 'state', 'config'), str)
DICTS = dict.fromkeys(('params', 'options', 'needs'), dict)
FORM = {
    'name': str,
    'baseline': OPTIONAL_TEXT,
    'objective': {'metric': OPTIONAL_TEXT},
    'kind': str,
    'space': {str: (list, {'choices': list}, {'low': NUMBER, 'high': NUMBER})},
    'runs': [{**TEXTS, **DICTS, 'seed': (int, NoneType), 'error': OPTIONAL_TEXT}],
}


@dataclass
class StudyRecord:
    """A study and its runs.

    Attributes:
        name: Name of the study.
        runs: In the order of the file; a run that has not begun has no evaluations.
        baseline: Name of the run that others are compared with, or None.
        controls: Names of further runs that a run is compared with, by its name.
        metric: The metric that is compared, at the best evaluation.
        kind: 'list', 'grid' or 'search'.
        space: Choices of a grid or search, by dotted key.
        configs: Path of the config by name of the run.
        needs: Config keys that take another run's checkpoint, by name of the run.
    """

    name: str
    runs: list[RunRecord]
    baseline: str | None
    controls: dict[str, list[str]]
    metric: str | None
    kind: str
    space: dict[str, Any]
    configs: dict[str, str]
    needs: dict[str, dict[str, str]]


def read_study(folder: str | Path) -> StudyRecord:
    """Read the folder of a study. A run that cannot be read keeps its state and gets a note.

    Raises:
        UserError: `study.json` is damaged or is something else.
    """
    file = Path(folder) / 'study.json'
    try:
        content = read_json(file.read_text(encoding='utf-8'))
    except ValueError as error:
        raise UserError(f'{file} is damaged ({error}); run the study again to repair it') from error
    # Older studies have none.
    controls = content.setdefault('controls', {}) if isinstance(content, dict) else None
    if not fits(content, FORM) or not fits(controls, {str: [str]}):
        raise UserError(f'{file} is not the state of a study; run the study again to write it')
    runs = content['runs']
    return StudyRecord(
        **{key: content[key] for key in ('name', 'baseline', 'kind', 'space')},
        controls=controls,
        runs=[_run(file.parent, entry) for entry in runs],
        metric=content['objective']['metric'],
        configs={entry['name']: entry['config'] for entry in runs},
        needs={entry['name']: entry['needs'] for entry in runs},
    )


def _run(folder: Path, entry: Mapping[str, Any]) -> RunRecord:
    name, work_dir = entry['name'], folder / entry['work_dir']
    try:
        record = read_run(work_dir, name)
    except UserError as error:
        record = RunRecord(name, work_dir)
        if entry['state'] == 'done':
            record.notes.append(message('{error}', error=error))
    if entry['seed'] is not None:
        record.seed = entry['seed']
    for key in ('state', 'error', 'params', 'options'):
        setattr(record, key, entry[key])
    return record
