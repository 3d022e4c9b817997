"""List the trainings of a study and check them before anything runs."""

import copy
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmseg_kd.checkpoints.sources import find_weights
from mmseg_kd.config.keys import UNTYPED
from mmseg_kd.config.loading import load_config
from mmseg_kd.errors import UserError, did_you_mean
from mmseg_kd.nested import value_at
from mmseg_kd.studies.config import Study
from mmseg_kd.studies.settings import fingerprint, flat_settings, without
from mmseg_kd.studies.space import Parameter, grid_points

# Dicts without a type whose keys `load_config` checks, so that a new key may be set.
CHECKED = {'model.teacher', *UNTYPED}
# Keys of the files that a training reads.
FILES = re.compile(r'load_from|model\.(pretrained|teacher\.([^.]+\.)?(config|checkpoint|baseline))')


@dataclass(frozen=True)
class PlannedRun:
    """One training of a study.

    Attributes:
        name: Name of the run, `<run>/<n>` for a point of a grid or search.
        seed: Value of `randomness.seed`.
        config: The config file.
        options: Overrides by dotted key, including the seed and a grid's point.
        needs: Name and seed of the training whose checkpoint a dotted key gets.
        work_dir: Folder of the run, relative to the study's.
        params: A grid's point.
        space: Keys whose values a search chooses.
        point: Number of the point in its grid or search.
        settings: The flat config. A key of `needs` has the needed run and its fingerprint, and
            the keys of `space` are replaced by their entries in the study's file.
        max_iters: Length of the training in iterations; None where it is not known before.
    """

    name: str
    seed: int
    config: str
    options: dict[str, Any]
    needs: dict[str, tuple[str, int]]
    work_dir: str
    params: dict[str, Any] = field(default_factory=dict)
    space: tuple[Parameter, ...] = ()
    point: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    max_iters: int | None = None

    @property
    def key(self) -> tuple[str, int]:
        """Name and seed, which identify a training of a study."""
        return self.name, self.seed

    @property
    def label(self) -> str:
        """Name and seed as text."""
        return f'{self.name} seed {self.seed}'

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the settings."""
        return fingerprint(self.settings)


def plan_study(study: Study) -> list[PlannedRun]:
    """List a study's trainings in an order in which they can run.

    Seed by seed, in the order in which seeds first appear, so that a study that was interrupted
    compares runs of equal seeds. With a search, run by run.

    Raises:
        UserError: A config cannot be read, or nothing reads a dotted key.
    """
    planner = _Planner(study)
    for name in study.runs:
        planner.add(name)
    plan = planner.plan
    if study.variation is not None and study.variation.kind == 'search':
        return plan
    seeds = list(dict.fromkeys(run.seed for run in plan))
    turns: dict[tuple[str, int], int] = {}
    for run in plan:
        turns[run.key] = max([seeds.index(run.seed), *(turns[key] for key in run.needs.values())])
    return sorted(plan, key=lambda run: turns[run.key])


def check_files(plan: list[PlannedRun]) -> None:
    """Raise UserError if a file that a training reads is missing and no training makes it."""
    # All seeds of a run read the same files.
    for run in {run.name: run for run in plan}.values():
        # `load_from` replaces the pretrained weights.
        unread = {*run.needs} | ({'model.pretrained'} if run.settings.get('load_from') else set())
        choices = [(p.key, choice) for p in run.space for choice in p.examples()]
        for key, path in (*run.settings.items(), *choices):
            read = FILES.fullmatch(key) and key not in unread and isinstance(path, str)
            if read and not _is_available(key, path):
                advice = f"fetch it, or write options={{'{key}': None}}"
                if key.endswith('config'):
                    advice = 'write the path of a config'
                elif not key.endswith(('pretrained', 'baseline')):
                    advice = f"write another, or let a run make it: needs={{'{key}': RUN}}"
                raise UserError(f'run {run.name}: {key}: {path} does not exist; {advice}')


def _is_available(key: str, path: str) -> bool:
    # The training itself downloads a URL.
    if '://' in path and not path.startswith('package://'):
        return True
    # A baseline is a work_dir.
    return find_weights(path).is_file() or (key.endswith('baseline') and Path(path).is_dir())


class _Planner:
    """Plan run after run, loading a config once for each kind of override."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.plan: list[PlannedRun] = []
        self.configs: dict[str, Config] = {}
        self.base = cache(load_config)

    def add(self, name: str) -> None:
        """Add the trainings of one run: its points times its seeds."""
        run, variation = self.study.runs[name], self.study.variation
        points: Iterable[tuple[int | None, dict]] = [(None, {})]
        space: tuple[Parameter, ...] = ()
        if variation is not None and variation.run == name:
            points = enumerate(grid_points(variation.space))
            if variation.kind == 'search':
                points, space = enumerate([{}] * variation.trials), variation.space
        # Check each value once, with the other keys at their first value.
        first = {parameter.key: parameter.examples()[0] for parameter in space}
        for parameter in space:
            for value in parameter.examples():
                self._load(name, {**first, parameter.key: value})
        for point, params in points:
            for seed in run.seeds:
                self.plan.append(self._training(name, point, seed, params, space))

    def _training(
        self, name: str, point: int | None, seed: int, params: dict, space: tuple[Parameter, ...]
    ) -> PlannedRun:
        run = self.study.runs[name]
        cfg = self._load(name, {**params, 'randomness.seed': seed})
        loop = cfg.get('train_cfg') or {}
        planned = {run.key: run for run in self.plan}
        needs, marks = {}, {}
        for key, needed in run.needs.items():
            seeds = self.study.runs[needed].seeds
            needs[key] = (needed, seed if seed in seeds else seeds[0])
            marks[key] = f'{needed} {planned[needs[key]].fingerprint}'
        # The kinds and bounds of a search space are settings too.
        entries = {f'study.search.space.{p.key}': repr(p.spec) for p in space}
        settings = without(flat_settings(cfg), [*marks, *(p.key for p in space)])
        name = name if point is None else f'{name}/{point}'
        return PlannedRun(
            name=name,
            seed=seed,
            config=run.config,
            options={**run.options, **params, 'randomness.seed': seed},
            needs=needs,
            work_dir=f'runs/{name}/seed{seed}',
            params=params,
            space=space,
            point=point,
            settings={**settings, **marks, **entries},
            max_iters=None if loop.get('time_budget') else loop.get('max_iters'),
        )

    def _load(self, name: str, options: dict[str, Any]) -> Config:
        """Return a run's config with its own and further options, and names of checkpoints."""
        run = self.study.runs[name]
        options = {**run.options, **options, **dict.fromkeys(run.needs, 'iter_1.pth')}
        kind = kind_of(name, options)
        try:
            if kind not in self.configs:
                base = self.base(run.config)
                for key, value in options.items():
                    _check_new_key(base, key, value)
                self.configs[kind] = load_config(run.config, options)
        except UserError as error:
            text = str(error).removeprefix('--cfg-options ')
            raise UserError(f'{self.study.file}: run {name}: {text}') from error
        cfg = copy.deepcopy(self.configs[kind])
        # Another number for a checked key needs no second check.
        for key, value in options.items():
            cfg.merge_from_dict({key: copy.deepcopy(value)})
        return cfg


def kind_of(config: str, options: dict[str, Any]) -> str:
    """Return a key that trainings share if only the numbers in their options differ.

    Keys of the top level and a crop count with their values, because other settings follow them.
    """
    numbers = {key for key, value in options.items() if type(value) in (int, float)}
    plain = {key for key in numbers if '.' in key and not key.endswith('.crop_size')}
    named = {k: type(v).__name__ if k in plain else v for k, v in options.items()}
    return json.dumps([config, named], default=repr)


def _check_new_key(cfg: Config, key: str, value: Any) -> None:
    """Raise UserError for a key that is new in a dict whose keys `load_config` does not check."""
    above, _, name = key.rpartition('.')
    node = value_at(cfg, above)
    if above and node is None:
        # The first part of the key that is missing is the misspelt one.
        _check_new_key(cfg, above, None)
    elif isinstance(node, dict) and name not in node:
        typed = 'type' in node or (isinstance(value, dict) and 'type' in value)
        if not typed and above not in CHECKED and not above.startswith('model.teacher.'):
            hint = did_you_mean(name, node, f'it has {", ".join(node)}')
            raise UserError(f'unknown key {key}: {above} has no {name!r}; {hint}')
