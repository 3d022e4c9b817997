"""Read and check a study's config file."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmseg_kd.config.loading import read_config
from mmseg_kd.errors import UserError, did_you_mean
from mmseg_kd.studies.space import Parameter, read_grid, read_space

NAME = re.compile(r'[^\W_][\w.+-]*')
# Names of devices on Windows, with any file extension.
RESERVED = {'con', 'prn', 'aux', 'nul'} | {f'{d}{n}' for d in ('com', 'lpt') for n in range(1, 10)}
SAMPLERS = ('TPE', 'Random')
PRUNERS = ('Median', 'SuccessiveHalving', 'Hyperband', None)
KEYS = {
    'study': {
        'name',
        'objective',
        'baseline',
        'seeds',
        'runs',
        'grid',
        'search',
        'options',
    },
    'run': {'config', 'options', 'needs', 'seeds'},
    'objective': {'metric', 'direction'},
    'grid': {'run', 'space'},
    'search': {'run', 'space', 'sampler', 'trials', 'pruner', 'seed'},
}


@dataclass(frozen=True)
class Run:
    """One named run of a study.

    Attributes:
        config: The config file.
        options: Overrides by dotted key, including those of the whole study.
        needs: Name of the run whose checkpoint a dotted key gets.
        seeds: Seeds, one training for each.
    """

    config: str
    options: dict[str, Any] = field(default_factory=dict)
    needs: dict[str, str] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class Variation:
    """The grid or the search over one run's settings.

    Attributes:
        run: Name of the run.
        space: The keys that vary.
        trials: Number of points of a search.
        sampler: One of `SAMPLERS` for a search; None for a grid.
        pruner: One of `PRUNERS` for a search.
        seed: Seed of a search.
    """

    run: str
    space: tuple[Parameter, ...]
    trials: int = 0
    sampler: str | None = None
    pruner: str | None = None
    seed: int = 0

    @property
    def kind(self) -> str:
        """'grid' or 'search'."""
        return 'search' if self.sampler else 'grid'


@dataclass(frozen=True)
class Study:
    """The checked content of a study's file.

    Attributes:
        file: The file.
        name: Name of its folder in `work_dirs`, and in the storage.
        metric: The evaluator's metric that is compared.
        direction: 'maximize' or 'minimize'.
        baseline: Name of the run that the others are compared with.
        runs: Runs by name, each after those that it needs.
        variation: The grid or search, if any.
    """

    file: str
    name: str
    metric: str
    direction: str
    baseline: str | None
    runs: dict[str, Run]
    variation: Variation | None


def load_study(path: str) -> Study:
    """Read a study's config file.

    Args:
        path: A Python file with one dict, `study`.

    Raises:
        UserError: The file is missing or is not valid Python, or a key in it is unknown, missing,
            empty, of a wrong type, or needs itself.
    """
    file = Path(path)
    if not file.is_file():
        raise UserError(f'the study {path} does not exist')
    content = read_config(path).to_dict()
    try:
        return _study(path, file.stem, content.get('study'))
    except UserError as error:
        raise UserError(f'{path}: {error}') from error


def _study(path: str, stem: str, study: Any) -> Study:
    _keys('study', study, KEYS['study'])
    name = study.get('name', stem)
    _name('study.name', name)
    objective = study.get('objective', {})
    _keys('study.objective', objective, KEYS['objective'])
    metric, direction = objective.get('metric', 'mIoU11'), objective.get('direction', 'maximize')
    if not isinstance(metric, str):
        raise UserError(f'study.objective.metric: {metric!r} is not a name')
    _one_of('study.objective.direction', direction, ('maximize', 'minimize'))
    runs = _runs(study)
    variation = _variation(study, runs)
    baseline = study.get('baseline')
    if baseline is not None:
        fixed = [run for run in runs if variation is None or run != variation.run]
        _one_of('study.baseline', baseline, fixed)
    for run, spec in runs.items():
        _check_needs(run, spec, runs, variation)
    ordered = {run: runs[run] for run in in_order(runs)}
    return Study(path, name, metric, direction, baseline, ordered, variation)


def _runs(study: dict) -> dict[str, Run]:
    runs = study.get('runs')
    if not isinstance(runs, dict) or not runs:
        raise UserError('study.runs: write runs=dict(NAME=dict(config=FILE), ...)')
    seeds = _seeds('study.seeds', study.get('seeds', [0]))
    common = _options('study.options', study.get('options', {}))
    found = {}
    for name, run in runs.items():
        where = f'study.runs.{name}'
        _name(where, name)
        _keys(where, run, KEYS['run'])
        if not isinstance(run.get('config'), str):
            raise UserError(f'{where}.config: write config=FILE')
        if not Path(run['config']).is_file():
            raise UserError(f'{where}.config: {run["config"]} does not exist')
        needs = run.get('needs', {})
        if not isinstance(needs, dict):
            raise UserError(f"{where}.needs: write needs={{'model.teacher.checkpoint': RUN}}")
        for other in found:
            if _folder(other) == _folder(name):
                raise UserError(
                    f'{where}: {name!r} and {other!r} are one folder on Windows; write names that '
                    'differ in more than upper and lower case'
                )
        found[name] = Run(
            config=Path(run['config']).as_posix(),
            options={**common, **_options(f'{where}.options', run.get('options', {}))},
            needs=needs,
            seeds=_seeds(f'{where}.seeds', run['seeds']) if 'seeds' in run else seeds,
        )
    return found


def _variation(study: dict, runs: Mapping[str, Run]) -> Variation | None:
    if 'grid' in study and 'search' in study:
        raise UserError('study has a grid and a search; write one of them')
    kind = 'grid' if study.get('grid') else 'search'
    spec = study.get(kind)
    if spec is None:
        if study.get('grid') is not None:
            raise UserError('study.grid is empty')
        return None
    where = f'study.{kind}'
    _keys(where, spec, KEYS[kind])
    if 'run' not in spec:
        raise UserError(f'{where}.run is missing: which of {", ".join(runs)} is varied?')
    _one_of(f'{where}.run', spec['run'], runs)
    if kind == 'grid':
        return Variation(spec['run'], read_grid(spec.get('space'), f'{where}.space'))
    sampler, pruner = spec.get('sampler', 'TPE'), spec.get('pruner')
    _one_of(f'{where}.sampler', sampler, SAMPLERS)
    _one_of(f'{where}.pruner', pruner, PRUNERS)
    trials, seed = spec.get('trials'), spec.get('seed', 0)
    if not _is_whole(trials) or trials < 1:
        raise UserError(f'{where}.trials: {trials!r} is not a number of runs, such as 30')
    if not _is_whole(seed):
        raise UserError(f'{where}.seed: {seed!r} is not a whole number')
    space = read_space(spec.get('space'), f'{where}.space')
    return Variation(spec['run'], space, trials, sampler, pruner, seed)


def _check_needs(name: str, run: Run, runs: Mapping[str, Run], varied: Variation | None) -> None:
    for key, needed in run.needs.items():
        where = f'study.runs.{name}.needs[{key!r}]'
        _one_of(where, needed, runs)
        if varied is not None and needed == varied.run:
            raise UserError(
                f'{where}: {needed!r} is varied by the {varied.kind}, so it has no one checkpoint'
            )


def in_order(runs: Mapping[str, Run]) -> list[str]:
    """Return the names of the runs, each after those that it needs, else as in the file.

    Raises:
        UserError: Runs need each other.
    """
    order: list[str] = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            circle = ' -> '.join([*path[path.index(name) :], name])
            raise UserError(f'study.runs need each other: {circle}')
        if name not in order:
            for needed in runs[name].needs.values():
                visit(needed, (*path, name))
            order.append(name)

    for name in runs:
        visit(name, ())
    return order


def _keys(where: str, node: Any, known: set[str]) -> None:
    if not isinstance(node, dict):
        raise UserError(f'{where}: write {where.split(".")[-1]}=dict(...), not {node!r}')
    for key in node:
        if key not in known:
            hint = did_you_mean(key, known, f'it has {", ".join(sorted(known))}')
            raise UserError(f'{where}.{key}: no such key; {hint}')


def _one_of(where: str, value: Any, known: Iterable[str | None]) -> None:
    known = list(known)
    if value not in known:
        raise UserError(f'{where}: {value!r} is not one of {", ".join(map(str, known))}')


def _name(where: str, name: Any) -> None:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise UserError(
            f'{where}: {name!r} becomes a folder; use letters, digits, and _ . + - inside'
        )
    if name.endswith('.'):
        raise UserError(f'{where}: {name!r}: Windows drops a dot at the end; remove it')
    if name.partition('.')[0].lower() in RESERVED:
        raise UserError(
            f'{where}: {name!r} is reserved by Windows for a device; write another name'
        )


def _folder(name: str) -> str:
    # Windows and macOS ignore case, and how an accented or Korean letter is composed.
    return unicodedata.normalize('NFC', name).casefold()


def _seeds(where: str, seeds: Any) -> tuple[int, ...]:
    if not isinstance(seeds, list | tuple) or not seeds or not all(map(_is_whole, seeds)):
        raise UserError(f'{where}: {seeds!r} is not a list of whole numbers, such as [0, 1, 2]')
    if len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise UserError(f'{where}: {seeds!r} has a seed twice or below 0')
    return tuple(seeds)


def _options(where: str, options: Any) -> dict[str, Any]:
    if not isinstance(options, dict) or not all(isinstance(key, str) for key in options):
        raise UserError(f"{where}: write options={{'train_cfg.max_iters': 100}}")
    for key, instead in (('randomness.seed', 'seeds=[...]'), ('work_dir', 'nothing')):
        if key in options:
            raise UserError(f'{where}: {key} is set by the study; write {instead} instead')
    return options


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
