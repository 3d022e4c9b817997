"""Read and check a study's config file."""

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmseg_kd.config.loading import read_config
from mmseg_kd.errors import UserError, unknown, user_errors
from mmseg_kd.paths import check_file
from mmseg_kd.studies.space import Parameter, read_space

NAME = re.compile(r'[^\W_][\w.+-]*')
# Devices of Windows, also with a suffix.
RESERVED = re.compile(r'(con|prn|aux|nul|(com|lpt)[1-9¹²³])(\..*)?', re.IGNORECASE)
SAMPLERS = ('TPE', 'Random')

# The keys of each dict with their defaults, which also give their types; None allows any type. A
# key with a type instead of a default is required.
STUDY = dict(name=None, objective={}, baseline=None, seeds=None, runs=dict, options={})
STUDY |= dict(grid=None, search=None, test=False, controls={})
OBJECTIVE = dict(metric='mIoU11')
RUN = dict(config=str, options={}, needs={}, seeds=None)
VARIATIONS = dict(grid=dict(run=str, space=dict))
VARIATIONS |= dict(search=dict(run=str, space=dict, sampler='TPE', trials=int, seed=0))


class Run(NamedTuple):
    """One named run of a study.

    Attributes:
        config: The config file.
        options: Overrides by dotted key, including those of the whole study.
        needs: By dotted key, the name of the run whose last checkpoint the key gets.
        seeds: Seeds, one training for each.
    """

    config: str
    options: dict[str, Any]
    needs: dict[str, str]
    seeds: tuple[int, ...]


class Variation(NamedTuple):
    """The grid or the search over one run's settings.

    Attributes:
        kind: 'grid' or 'search'.
        run: Name of the run.
        space: The keys that vary.
        trials: Number of points of a search.
        sampler: One of `SAMPLERS`, for a search.
        seed: Seed of a search.
    """

    kind: str
    run: str
    space: tuple[Parameter, ...]
    trials: int = 0
    sampler: str | None = None
    seed: int = 0


class Study(NamedTuple):
    """The checked content of a study's file.

    Attributes:
        file: The file.
        name: Name of its folder in `work_dirs`, and in the storage.
        metric: The evaluator's metric that is compared.
        baseline: Name of the run that the others are compared with.
        controls: By name of a run, the names of further runs that it is compared with.
        runs: Runs by name, each after those that it needs.
        variation: The grid or search, if any.
        test: Whether to test the best checkpoint of each run on the test split at the end.
    """

    file: str
    name: str
    metric: str
    baseline: str | None
    controls: dict[str, Sequence[str]]
    runs: dict[str, Run]
    variation: Variation | None
    test: bool = False


def load_study(path: str) -> Study:
    """Read a study's config file.

    Args:
        path: A Python file with one dict, `study`.

    Raises:
        UserError: The file is missing or is not valid Python, or a key in it is unknown, missing,
            empty, of a wrong type, or needs itself.
    """
    check_file(path, 'the study')
    content = read_config(path).to_dict()
    with user_errors(f'{path}: ', UserError):
        return _study(path, Path(path).stem, content.get('study'))


def _study(path: str, stem: str, node: Any) -> Study:
    study = _read('study', node, STUDY)
    objective = _read('study.objective', study['objective'], OBJECTIVE)
    runs = _runs(study)
    variation = _variation(study, runs)
    varied = {(variation.run, p.key) for p in variation.space} if variation else set()
    for run, spec in runs.items():
        for key, needed in spec.needs.items():
            where = f'study.runs.{run}.needs[{key!r}]'
            _one_of(where, needed, runs)
            if key.endswith('config'):
                raise UserError(f'{where}: a run makes a checkpoint; write a config in options')
            if variation is not None and needed == variation.run:
                kind = variation.kind
                raise UserError(f'{where}: {needed!r} is a whole {kind}; write a point as a run')
            if (run, key) in varied:
                raise UserError(f'{where}: the {variation.kind} varies this key too; remove one')
    if study['baseline'] is not None:
        fixed = [run for run in runs if variation is None or run != variation.run]
        _one_of('study.baseline', study['baseline'], fixed)
    for run, controls in study['controls'].items():
        where = f'study.controls[{run!r}]'
        if not isinstance(controls, list | tuple):
            raise UserError(f'{where}: expected a list of runs, but got {controls!r}')
        for name in (run, *controls):
            _one_of(where, name, runs)
    name = _name('study.name', stem if study['name'] is None else study['name'])
    same = {key: study[key] for key in ('baseline', 'controls', 'test')}
    return Study(path, name, **objective, **same, runs=_in_order(runs), variation=variation)


def _runs(study: dict) -> dict[str, Run]:
    seeds = _seeds('study.seeds', [0] if study['seeds'] is None else study['seeds'])
    common = _options('study.options', study['options'])
    found: dict[str, Run] = {}
    folders: dict[str, str] = {}
    # None leaves out a run of the base config.
    named = {name: node for name, node in study['runs'].items() if node is not None}
    for name, node in named.items():
        where = f'study.runs.{name}'
        run = _read(where, node, RUN)
        # Windows and macOS ignore case, and macOS how an accented or Korean letter is composed.
        folder = unicodedata.normalize('NFC', _name(where, name)).casefold()
        if other := folders.get(folder):
            raise UserError(f'{where}: {name!r} and {other!r} are one folder on Windows')
        folders[folder] = name
        check_file(run['config'], f'{where}.config:')
        options = common | _options(f'{where}.options', run['options'])
        own = seeds if run['seeds'] is None else _seeds(f'{where}.seeds', run['seeds'])
        found[name] = Run(Path(run['config']).as_posix(), options, run['needs'], own)
    if not found:
        raise UserError('study.runs: write runs=dict(NAME=dict(config=FILE), ...)')
    return found


def _variation(study: dict, runs: Mapping[str, Run]) -> Variation | None:
    kinds = [kind for kind in VARIATIONS if study[kind] is not None]
    if not kinds:
        return None
    if len(kinds) > 1:
        raise UserError('study has a grid and a search; write one of them')
    (kind,) = kinds
    spec = _read(f'study.{kind}', study[kind], VARIATIONS[kind])
    _one_of(f'study.{kind}.run', spec['run'], runs)
    if kind == 'search':
        _one_of('study.search.sampler', spec['sampler'], SAMPLERS)
        if spec['trials'] < 1:
            raise UserError(f'study.search.trials: {spec["trials"]} is not a number from 1 up')
    space = read_space(_options(f'study.{kind}.space', spec['space']), kind)
    return Variation(**{**spec, 'kind': kind, 'space': space})


def _in_order(runs: Mapping[str, Run]) -> dict[str, Run]:
    """Return the runs in the order of the file, but each after those that it needs.

    Raises:
        UserError: Runs need each other.
    """
    order: dict[str, Run] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            circle = ' -> '.join([*path[path.index(name) :], name])
            raise UserError(f'study.runs need each other: {circle}')
        if name not in order:
            for needed in runs[name].needs.values():
                visit(needed, (*path, name))
            order[name] = runs[name]

    for name in runs:
        visit(name, ())
    return order


def _read(where: str, node: Any, keys: Mapping[str, Any]) -> dict[str, Any]:
    """Check the keys and types of a dict, and fill in what it leaves out."""
    if not isinstance(node, dict):
        raise UserError(f'{where}: write {where.split(".")[-1]}=dict(...), not {node!r}')
    for key, hint in unknown(node, keys, f'it has {", ".join(keys)}'):
        raise UserError(f'{where}.{key}: no such key; {hint}')
    found = {**keys, **node}
    for key, default in keys.items():
        kind = default if isinstance(default, type) else type(default)
        if default is not None and not isinstance(found[key], kind):
            given = 'nothing' if found[key] is kind else repr(found[key])
            raise UserError(f'{where}.{key}: write a value of type {kind.__name__}, not {given}')
    return found


def _one_of(where: str, value: Any, known: Collection[str | None]) -> None:
    if value not in list(known):
        raise UserError(f'{where}: {value!r} is not one of {", ".join(map(str, known))}')


def _name(where: str, name: Any) -> str:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise UserError(f'{where}: {name!r} becomes a folder: a letter or digit, then also _ . + -')
    if name.endswith('.'):
        raise UserError(f'{where}: {name!r}: Windows drops a dot at the end; remove it')
    if RESERVED.fullmatch(name):
        raise UserError(f'{where}: {name!r} is reserved by Windows; write another name')
    return name


def _seeds(where: str, seeds: Any) -> tuple[int, ...]:
    numbers = isinstance(seeds, list | tuple) and {type(seed) for seed in seeds} == {int}
    if not numbers or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise UserError(
            f'{where}: {seeds!r} is not a list of whole numbers from 0 up, none of them twice, '
            'such as [0, 1, 2]'
        )
    return tuple(seeds)


def _options(where: str, options: Any) -> dict[str, Any]:
    for key, instead in (('randomness.seed', 'seeds=[...]'), ('work_dir', 'nothing')):
        if key in options:
            raise UserError(f'{where}: {key} is set by the study; write {instead} instead')
    return options
