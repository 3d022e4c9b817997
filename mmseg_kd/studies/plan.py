"""List the trainings of a study and check them before anything runs."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmseg_kd.config.loading import load_config
from mmseg_kd.errors import UserError
from mmseg_kd.models.kd_encoder_decoder import teachers_by_name
from mmseg_kd.studies.config import Study
from mmseg_kd.studies.settings import check_key, fingerprint, flat_settings, override
from mmseg_kd.studies.space import Parameter, grid_points


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
        settings: The flat config, without the keys of `space`.
        max_iters: Length of the training in iterations.
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

    @property
    def fingerprint(self) -> str:
        """Hash of the settings."""
        return fingerprint(self.settings)

    @property
    def marks(self) -> dict[str, Any]:
        """Settings that are not in the run's own config: what it needs, and a search's space."""
        return {key: self.settings[key] for key in (*self.needs, *_marked(self.space))}

    @property
    def open_keys(self) -> tuple[str, ...]:
        """Dotted keys that a search chooses."""
        return tuple(parameter.key for parameter in self.space)


def plan_study(study: Study) -> list[PlannedRun]:
    """List a study's trainings in an order in which they can run.

    Raises:
        UserError: A config cannot be read, or nothing reads a dotted key.
    """
    planner = _Planner(study)
    plan: list[PlannedRun] = []
    for name in study.runs:
        plan += planner.trainings(name)
    return plan


def check_files(plan: list[PlannedRun]) -> None:
    """Raise UserError if a file that a training reads is missing and no training makes it."""
    # All points and seeds of a run read the same files.
    for run in {(run.name.split('/')[0], run.config): run for run in plan}.values():
        for key, path in _files(load_config(run.config, run.options)):
            if key not in run.needs and not Path(path).is_file():
                advice = f"fetch it, or write options={{'{key}': None}}"
                if not key.endswith('pretrained'):
                    advice = f"write another, or let a run make it: needs={{'{key}': RUN}}"
                raise UserError(f'run {run.name}: {key}: {path} does not exist; {advice}')


def _files(cfg: Config) -> Iterator[tuple[str, str]]:
    for name, teacher in teachers_by_name(cfg.model.get('teacher') or {}).items():
        path = 'model.teacher' if name == 'teacher' else f'model.teacher.{name}'
        for key in ('config', 'checkpoint'):
            if isinstance(teacher.get(key), str):
                yield f'{path}.{key}', teacher[key]
    if isinstance(cfg.get('load_from'), str):
        yield 'load_from', cfg.load_from
    elif isinstance(cfg.model.get('pretrained'), str):
        yield 'model.pretrained', cfg.model.pretrained


class _Planner:
    """Plan run after run, reading every config file and checking every kind of override once."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.configs: dict[str, dict] = {}
        self.checked: set[str] = set()
        self.fingerprints: dict[tuple[str, int], str] = {}

    def trainings(self, name: str) -> list[PlannedRun]:
        """Return the trainings of one run: its points times its seeds."""
        run, variation = self.study.runs[name], self.study.variation
        varied = variation if variation is not None and variation.run == name else None
        if varied is None:
            points: list[tuple[int | None, dict]] = [(None, {})]
        elif varied.kind == 'grid':
            points = list(enumerate(grid_points(varied.space)))
        else:
            points = [(n, {}) for n in range(varied.trials)]
        space = varied.space if varied is not None and varied.kind == 'search' else ()
        self._check_examples(name, space)
        found = []
        for point, params in points:
            for seed in run.seeds:
                found.append(self._training(name, point, seed, params, space))
                self.fingerprints[found[-1].key] = found[-1].fingerprint
        return found

    def _training(
        self, name: str, point: int | None, seed: int, params: dict, space: tuple[Parameter, ...]
    ) -> PlannedRun:
        run = self.study.runs[name]
        options = {**run.options, **params, 'randomness.seed': seed}
        cfg = self._resolve(run.config, options, f'run {name}')
        needs = {}
        for key, needed in run.needs.items():
            check_key(cfg, key, '', f'{self.study.file}: study.runs.{name}.needs')
            seeds = self.study.runs[needed].seeds
            needs[key] = (needed, seed if seed in seeds else seeds[0])
        marks = {key: f'{need[0]} {self.fingerprints[need]}' for key, need in needs.items()}
        marks |= _marked(space)
        return PlannedRun(
            name=name if point is None else f'{name}/{point}',
            seed=seed,
            config=run.config,
            options=options,
            needs=needs,
            work_dir=_work_dir(name, point, seed, run.seeds),
            params=params,
            space=space,
            point=point,
            settings=flat_settings(cfg, (p.key for p in space), marks),
            max_iters=(cfg.get('train_cfg') or {}).get('max_iters'),
        )

    def _check_examples(self, name: str, space: tuple[Parameter, ...]) -> None:
        # Each value once, with the other keys at their first value, instead of every combination.
        run = self.study.runs[name]
        for parameter in space:
            for value in parameter.examples():
                point = {p.key: p.examples()[0] for p in space} | {parameter.key: value}
                self._resolve(run.config, {**run.options, **point}, f'run {name}')

    def _resolve(self, config: str, options: dict[str, Any], run: str) -> Config:
        if config not in self.configs:
            self.configs[config] = load_config(config).to_dict()
        cfg = Config(copy.deepcopy(self.configs[config]), filename=config, format_python_code=False)
        # Another number for a checked key needs no second check.
        kind = kind_of(config, options)
        if kind in self.checked:
            cfg.merge_from_dict(options)
        else:
            override(cfg, options, f'{self.study.file}: {run}')
            self.checked.add(kind)
        return cfg


def kind_of(config: str, options: dict[str, Any]) -> str:
    """Return a key that trainings share if only the numbers in their options differ."""
    named = {k: type(v).__name__ if isinstance(v, int | float) else v for k, v in options.items()}
    return json.dumps([config, named], default=repr)


def _marked(space: tuple[Parameter, ...]) -> dict[str, Any]:
    # The kinds and bounds of a search space are settings too.
    return {f'study.search.space.{parameter.key}': repr(parameter.spec) for parameter in space}


def _work_dir(name: str, point: int | None, seed: int, seeds: tuple[int, ...]) -> str:
    if point is None:
        return f'runs/{name}/seed{seed}'
    return f'runs/{name}/{point}' + (f'/seed{seed}' if len(seeds) > 1 else '')
