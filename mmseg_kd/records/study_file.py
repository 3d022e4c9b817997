"""The state of a study, read from `study.json`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

from mmseg_kd.errors import UserError
from mmseg_kd.records.json_lines import NUMBER, OPTIONAL_TEXT, fits, is_number, read_json_file
from mmseg_kd.records.message import message
from mmseg_kd.records.run_record import RunRecord, read_run

TEXTS = dict.fromkeys(('name', 'work_dir', 'state', 'config'), str)
DICTS = dict.fromkeys(('params', 'options', 'needs'), dict)
FORM = {
    'name': str,
    'baseline': OPTIONAL_TEXT,
    'controls': {str: [str]},
    'objective': {'metric': OPTIONAL_TEXT},
    'kind': str,
    'space': {str: (list, {'choices': list}, {'low': NUMBER, 'high': NUMBER})},
    'runs': [{**TEXTS, **DICTS, 'seed': (int, NoneType), 'error': OPTIONAL_TEXT}],
}
# With two choices, both are edges.
FEWEST_CHOICES = 3
# Fraction of a range, at each end, that counts as its edge.
MARGIN = 0.05


@dataclass
class StudyRecord:
    """A study and its runs.

    Attributes:
        name: Name of the study.
        runs: In the order of the file; a run that has not begun has no evaluations.
        baseline: Name of the run that others are compared with, or None.
        controls: Names of further runs that a run is compared with, by the run's name.
        metric: The metric that is compared, at the best evaluation.
        kind: 'list', 'grid' or 'search'.
        space: Choices of a grid or search, by dotted key.
    """

    name: str
    runs: list[RunRecord]
    baseline: str | None
    controls: dict[str, list[str]]
    metric: str | None
    kind: str
    space: dict[str, Any]


def read_study(folder: str | Path) -> StudyRecord:
    """Read the folder of a study. A run that cannot be read keeps its state and gets a note.

    Raises:
        UserError: `study.json` is damaged or is something else.
    """
    file = Path(folder) / 'study.json'
    content = read_json_file(file)
    if isinstance(content, dict):
        # Older studies have none.
        content.setdefault('controls', {})
    if not fits(content, FORM):
        raise UserError(f'{file} is damaged or is not the state of a study; run the study again')
    return StudyRecord(
        **{key: content[key] for key in ('name', 'baseline', 'controls', 'kind', 'space')},
        runs=[_run(file.parent, entry) for entry in content['runs']],
        metric=content['objective']['metric'],
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
    for key in ('state', 'error', 'params', 'options', 'needs'):
        setattr(record, key, entry[key])
    record.study_config = entry['config']
    return record


def at_the_edge(space: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, tuple[Any, str]]:
    """Return the chosen numbers that lie at the edge of the search space.

    Args:
        space: A list of choices for a grid, or a dict with `low` and `high`, by dotted key.
        params: The chosen values.

    Returns:
        The value and the edge, 'lowest' or 'highest', by dotted key.
    """
    found = {}
    for key, value in params.items():
        low, high = _edges(space.get(key, ()))
        # A weight of 0 leaves a loss out, and nothing lies below it.
        if is_number(value) and low < high and not low < value < high and (value or value >= high):
            found[key] = (value, 'lowest' if value <= low else 'highest')
    return found


def _edges(choices: Any) -> tuple[float, float]:
    """Return the bounds at or beyond which a value is at an edge; equal ones if none is."""
    if isinstance(choices, Mapping) and 'choices' not in choices:
        low, high = choices['low'], choices['high']
        if is_logarithmic(choices):
            step = (high / low) ** MARGIN
            return low * step, high / step
        return low + MARGIN * (high - low), high - MARGIN * (high - low)
    # In a grid only the lowest and the highest choice are at an edge.
    numbers = [c for c in choices if is_number(c)] if isinstance(choices, list) else []
    return (min(numbers), max(numbers)) if len(numbers) >= FEWEST_CHOICES else (0, 0)


def is_logarithmic(choices: Mapping[str, Any]) -> bool:
    """Return whether a range is searched on a logarithmic scale."""
    return str(choices.get('type')).startswith('log') and choices['low'] > 0
