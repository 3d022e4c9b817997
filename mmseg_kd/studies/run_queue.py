"""The trainings of a study as the trials of one Optuna study that many processes share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from mmseg_kd.studies.claim import Claim
from mmseg_kd.studies.config import Study, Variation
from mmseg_kd.studies.owner import GRACE, Watch, this_process
from mmseg_kd.studies.plan import PlannedRun

STATES = {
    TrialState.WAITING: 'waiting',
    TrialState.RUNNING: 'running',
    TrialState.COMPLETE: 'done',
    TrialState.PRUNED: 'pruned',
    TrialState.FAIL: 'failed',
}
Key = tuple[str, int]


class RunQueue:
    """Hands the trainings of a plan to workers; each to one at a time.

    A training's trials are its attempts, numbered by their user attribute 'attempt'. The one
    that counts is the first trial of the last attempt, so that processes which enqueue the
    same at the same time agree without a lock. Trials are added and never removed. A FAIL
    without the user attribute 'error' was lost or interrupted and is to be tried again.

    Args:
        study: The study.
        plan: Its trainings, in order.
        storage: Of `open_storage`.
        grace: See `Watch`.
    """

    def __init__(
        self,
        study: Study,
        plan: Sequence[PlannedRun],
        storage: BaseStorage,
        grace: float = GRACE,
    ) -> None:
        self.study, self.plan, self.storage = study, plan, storage
        self.watch = Watch(grace)
        self.optuna = optuna.create_study(
            study_name=study.name,
            storage=storage,
            direction=study.direction,
            load_if_exists=True,
        )

    def current(self) -> dict[Key, FrozenTrial]:
        """The trial that counts of each training that was ever enqueued, planned or not."""
        found: dict[Key, FrozenTrial] = {}
        for trial in self.optuna.get_trials(deepcopy=False):
            if 'run' not in trial.user_attrs:
                # Of somebody who added trials to the study by other means.
                continue
            key = (trial.user_attrs['run'], trial.user_attrs['seed'])
            if key not in found or attempt(trial) > attempt(found[key]):
                found[key] = trial
        return found

    def enqueue(self, retry_failed: bool = False) -> None:
        """Add what the plan has and the storage lacks, and what is to be tried again."""
        self.release_lost()
        current = self.current()
        for run in self.plan:
            trial = current.get(run.key)
            if trial is None:
                self._add(run, 1)
            elif trial.state == TrialState.FAIL and retry_failed:
                self._add(run, attempt(trial) + 1, trial)
            elif trial.state == TrialState.WAITING and not same_settings(run, trial):
                # Nobody has begun it, so nothing is lost; a worker with the older file stops.
                self._add(run, attempt(trial) + 1)
        self._drop_duplicates()

    def enqueue_again(self, run: PlannedRun) -> None:
        """Add another attempt of a training that has ended."""
        self._add(run, attempt(self.current()[run.key]) + 1)

    def _add(self, run: PlannedRun, number: int, earlier: FrozenTrial | None = None) -> None:
        params = {p.key: p for p in (*run.space, *_grid(self.study, run))}
        drawn: dict[str, Any] = {}
        seconds = 0.0
        if earlier is not None and same_settings(run, earlier):
            # A point that was chosen is tried again as it was, from where it stopped.
            drawn, seconds = earlier.params, earlier.user_attrs['seconds']
        elif run.params:
            drawn = {key: params[key].encode(value) for key, value in run.params.items()}
        self.optuna.add_trial(
            create_trial(
                state=TrialState.WAITING,
                params=drawn,
                distributions={key: params[key].distribution for key in drawn},
                user_attrs={
                    'run': run.name,
                    'seed': run.seed,
                    'attempt': number,
                    'fingerprint': run.fingerprint,
                    'settings': run.settings,
                    'work_dir': run.work_dir,
                    'seconds': seconds,
                },
            )
        )

    def _drop_duplicates(self) -> None:
        counting = {trial.number for trial in self.current().values()}
        waiting = self.optuna.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        for trial in waiting:
            if trial.number not in counting and 'run' in trial.user_attrs:
                self._fail(trial._trial_id)

    def is_lost(self, trial: FrozenTrial) -> bool:
        """Whether the process that ran a trial has died."""
        attrs = trial.user_attrs
        return trial.state == TrialState.RUNNING and self.watch.is_lost(
            trial.number, attrs.get('owner'), attrs.get('heartbeat')
        )

    def release_lost(self) -> list[str]:
        """Put trainings back whose worker died or was stopped; what they are called."""
        released = []
        current = self.current()
        for run in self.plan:
            trial = current.get(run.key)
            if trial is None:
                continue
            attrs = trial.user_attrs
            if trial.state == TrialState.RUNNING:
                lost = self.is_lost(trial) and self._fail(trial._trial_id)
            else:
                # Its worker died, or another process put it back only this moment.
                lost = trial.state == TrialState.FAIL and 'error' not in attrs
            if lost:
                self._add(run, attempt(trial) + 1, trial)
                released.append(run.label)
        return released

    def _fail(self, trial_id: int) -> bool:
        try:
            return self.storage.set_trial_state_values(trial_id, state=TrialState.FAIL)
        except UpdateFinishedTrialError:
            return False

    def claim(self) -> tuple[PlannedRun, Claim] | None:
        """Take the first waiting training whose needs are met, for this process alone."""
        current = self.current()
        for run in self.plan:
            trial = current.get(run.key)
            if trial is None or trial.state != TrialState.WAITING or not same_settings(run, trial):
                continue
            if not self._is_ready(run, current):
                continue
            try:
                taken = self.storage.set_trial_state_values(
                    trial._trial_id, state=TrialState.RUNNING
                )
            except UpdateFinishedTrialError:
                continue
            if taken:
                return run, self._take(run, trial, current)
        return None

    def _first_seed(self, run: PlannedRun) -> Key:
        return next(other.key for other in self.plan if other.name == run.name)

    def _is_ready(self, run: PlannedRun, current: dict[Key, FrozenTrial]) -> bool:
        for need in run.needs.values():
            if need not in current or current[need].state != TrialState.COMPLETE:
                return False
        # The first seed of a point chooses for the others.
        first = self._first_seed(run)
        chosen = current[first].params if first in current else {}
        return not run.space or first == run.key or len(chosen) == len(run.space)

    def busy(self) -> list[str]:
        """Trainings that somebody runs: others may need them, or their worker may die."""
        current = self.current()
        return [
            run.label
            for run in self.plan
            if run.key in current and current[run.key].state == TrialState.RUNNING
        ]

    def _take(self, run: PlannedRun, trial: FrozenTrial, current: dict[Key, FrozenTrial]) -> Claim:
        self.storage.set_trial_user_attr(trial._trial_id, 'owner', this_process())
        first = self._first_seed(run)
        if run.space and first != run.key:
            for p in run.space:
                if p.key not in trial.params:
                    held = p.distribution.to_internal_repr(current[first].params[p.key])
                    self.storage.set_trial_param(trial._trial_id, p.key, held, p.distribution)
        study = self.optuna
        if self.study.variation is not None and run.space:
            # A sampler and a pruner of its own: a point does not depend on who runs it.
            study = optuna.load_study(
                study_name=self.study.name,
                storage=self.storage,
                sampler=_sampler(self.study.variation, run.point or 0),
                pruner=_pruner(self.study.variation),
            )
            # Optuna's cache of a database knows a trial only once it was listed.
            study.get_trials(deepcopy=False)
        return Claim(Trial(study, trial._trial_id), self.storage, run)

    def unreachable(self) -> dict[Key, str]:
        """Waiting trainings that cannot start, and which failed one they wait for."""
        current, found = self.current(), {}
        for run in self.plan:
            for need in run.needs.values():
                trial = current.get(need)
                failed = trial is not None and trial.state == TrialState.FAIL
                if failed or need in found:
                    found[run.key] = f'{need[0]} seed {need[1]}'
        return found


def attempt(trial: FrozenTrial) -> int:
    """How often the training had been begun or put back, and once more."""
    return trial.user_attrs['attempt']


def same_settings(run: PlannedRun, trial: FrozenTrial) -> bool:
    """Whether a trial is of the config as it is now."""
    return trial.user_attrs['fingerprint'] == run.fingerprint


def _grid(study: Study, run: PlannedRun) -> Sequence[Any]:
    return study.variation.space if study.variation is not None and run.params else ()


def _sampler(variation: Variation, point: int) -> optuna.samplers.BaseSampler:
    seed = variation.seed * 100_003 + point
    if variation.sampler == 'Random':
        return optuna.samplers.RandomSampler(seed=seed)
    # In groups, since runs beside the search have no parameters; running points count as bad
    # ones, so that processes side by side do not try the same.
    return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)


def _pruner(variation: Variation) -> optuna.pruners.BasePruner:
    if variation.pruner is None:
        return optuna.pruners.NopPruner()
    return getattr(optuna.pruners, f'{variation.pruner}Pruner')()
