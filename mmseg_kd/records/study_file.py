"""The state of a study, read from `study.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmseg_kd.errors import UserError
from mmseg_kd.records.json_lines import is_number, read_json
from mmseg_kd.records.message import message
from mmseg_kd.records.run_record import RunRecord, read_run

STATES = ('waiting', 'running', 'done', 'failed', 'pruned')


@dataclass
class StudyRecord:
    """A study and its runs.

    Attributes:
        name: Name of the study.
        runs: In the order of the file; a run that has not begun has no evaluations.
        baseline: Name of the run that others are compared with, or None.
        metric: The metric that is compared, at the best evaluation.
        kind: 'list', 'grid' or 'search'.
        space: Choices of a grid or search, by dotted key.
        configs: Path of the config by name of the run.
        needs: Config keys that take another run's checkpoint, by name of the run.
    """

    name: str
    runs: list[RunRecord]
    baseline: str | None = None
    metric: str | None = None
    kind: str = 'list'
    space: dict[str, Any] = field(default_factory=dict)
    configs: dict[str, str] = field(default_factory=dict)
    needs: dict[str, dict[str, str]] = field(default_factory=dict)


def read_study(folder: str | Path) -> StudyRecord:
    """Read the folder of a study. A run that cannot be read keeps its state and gets a note.

    Raises:
        UserError: `study.json` is damaged or is something else.
    """
    file = Path(folder) / 'study.json'
    try:
        content = read_json(file.read_text(encoding='utf-8'))
        objective = content.get('objective') or {}
        study = StudyRecord(
            str(content['name']),
            [_run(file.parent, entry) for entry in content['runs']],
            _text(content.get('baseline')),
            _text(objective.get('metric')),
            content.get('kind', 'list'),
            {key: _choices(spec) for key, spec in (content.get('space') or {}).items()},
            {entry['name']: str(entry.get('config', '')) for entry in content['runs']},
            {entry['name']: entry.get('needs') or {} for entry in content['runs']},
        )
    except OSError as error:
        raise UserError(f'{file} cannot be read: {error}') from error
    except ValueError as error:
        raise UserError(f'{file} is damaged ({error}); run the study again to repair it') from error
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f'{file} is not the state of a study: {error!r}') from error
    return study


def _text(value: Any) -> str | None:
    if not isinstance(value, str | None):
        raise TypeError(f'{value!r} is not a name')
    return value


def _choices(spec: Any) -> Any:
    if isinstance(spec, dict) and 'choices' not in spec:
        known = all(is_number(spec.get(end)) for end in ('low', 'high'))
    else:
        known = isinstance(spec['choices'] if isinstance(spec, dict) else spec, list)
    if not known:
        raise TypeError(f'{spec!r} is not what a search chooses from')
    return spec


def _run(folder: Path, entry: Mapping[str, Any]) -> RunRecord:
    name, work_dir = str(entry['name']), folder / entry['work_dir']
    state, seed = entry['state'], entry.get('seed')
    if state not in STATES:
        raise KeyError(f'state {state!r}')
    if not isinstance(seed, int | None):
        raise TypeError(f'seed {seed!r}')
    try:
        record = read_run(work_dir, name)
    except UserError as error:
        record = RunRecord(name, work_dir)
        if state not in ('waiting', 'failed', 'running'):
            record.notes.append(message('{error}', error=error))
    record.seed = record.seed if seed is None else seed
    record.state, record.error = state, _text(entry.get('error'))
    record.params = dict(entry.get('params') or {})
    record.options = dict(entry.get('options') or {})
    return record
