"""The trainings of a study as the trials of one Optuna study that many processes share.

Optuna hands out the trials (`ask`) and ends them (`tell`). `Study.optimize` and Optuna's own
heartbeat are not used: only databases have that heartbeat, journal files and the gRPC proxy do
not; a worker that dies before its first beat blocks its run forever; and the beat ends for good at
the first error of the database.
"""

from __future__ import annotations

from collections.abc import Sequence

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from mmseg_kd.studies.config import Study, Variation
from mmseg_kd.studies.lease import Lease, end_trial
from mmseg_kd.studies.owner import GRACE, Watch, this_process
from mmseg_kd.studies.plan import PlannedRun
from mmseg_kd.studies.settings import changed_keys

STATES = {
    TrialState.WAITING: 'waiting',
    TrialState.RUNNING: 'running',
    TrialState.COMPLETE: 'done',
    TrialState.PRUNED: 'pruned',
    TrialState.FAIL: 'failed',
}
Key = tuple[str, int]


class RunQueue:
    """Give each training of a plan to one worker at a time.

    A training is identified by its name and seed. Each attempt at it is a trial, numbered by the
    user attribute 'attempt', and added only when it can start. The trial that counts is the first
    one of the last attempt, so that processes which add the same attempt at the same time agree
    without a lock. Trials are never removed.

    Args:
        study: The study.
        plan: Its trainings, in order.
        storage: As `open_storage` returns it.
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
        self.runs = {run.key: run for run in plan}
        self.watch = Watch(grace)
        self.optuna = optuna.create_study(
            study_name=study.name,
            storage=storage,
            direction=study.direction,
            load_if_exists=True,
        )

    def current(self) -> dict[Key, FrozenTrial]:
        """Return the trial that counts of each training that was begun, planned or not."""
        found: dict[Key, FrozenTrial] = {}
        for trial in self._trials():
            key = (trial.user_attrs['run'], trial.user_attrs['seed'])
            if key not in found or _attempt(trial) > _attempt(found[key]):
                found[key] = trial
        return found

    def _trials(self) -> list[FrozenTrial]:
        # Others are what `ask` makes where nothing waits.
        return [t for t in self.optuna.get_trials(deepcopy=False) if 'run' in t.user_attrs]

    def same_settings(self, run: PlannedRun, trial: FrozenTrial) -> bool:
        """Return whether a trial's settings train the same as those of now."""
        if trial.user_attrs['fingerprint'] == run.fingerprint:
            return True
        settings = trial.user_attrs['settings']
        return all(
            key in run.needs and self._same_need(self.runs[run.needs[key]], settings.get(key, ''))
            for key in changed_keys(settings, run.settings)
        )

    def _same_need(self, needed: PlannedRun, mark: str) -> bool:
        """Return whether the run behind a mark, `NAME FINGERPRINT`, had the settings of now."""
        return any(
            f'{trial.user_attrs["run"]} {trial.user_attrs["fingerprint"]}' == mark
            and self.same_settings(needed, trial)
            for trial in self._trials()
        )

    def prepare(self, retry_failed: bool = False) -> None:
        """Update the settings of trainings that wait; let failed ones wait again if asked."""
        self.release_lost()
        for key, trial in self.current().items():
            run, state = self.runs.get(key), state_of(trial)
            if run is None:
                continue
            edited = state == 'waiting' and not self.same_settings(run, trial)
            if edited or (state == 'failed' and retry_failed):
                self.put_back(run, trial)

    def put_back(self, run: PlannedRun, trial: FrozenTrial) -> None:
        """Let a training wait for the attempt that follows a trial."""
        self._add(run, TrialState.FAIL, trial)

    def _add(self, run: PlannedRun, state: TrialState, earlier: FrozenTrial | None) -> None:
        # Two processes that looked at the same trial, `earlier`, add the same attempt. Only the
        # first of these counts.
        space = self.study.variation.space if run.point is not None else ()
        params, seconds = {}, 0.0
        if earlier is not None and self.same_settings(run, earlier):
            # It continues where it stopped, with the values that were drawn for it.
            params, seconds = earlier.params, earlier.user_attrs['seconds']
        if run.params:
            params = {p.key: p.encode(run.params[p.key]) for p in space}
        elif run.space and not params and state == TrialState.WAITING:
            first = self._first_seed(run)
            params = {} if first == run.key else self.current()[first].params
        self.optuna.add_trial(
            create_trial(
                state=state,
                params=params,
                distributions={p.key: p.distribution for p in space if p.key in params},
                user_attrs={
                    'run': run.name,
                    'seed': run.seed,
                    'attempt': _attempt(earlier) + 1 if earlier else 1,
                    'fingerprint': run.fingerprint,
                    'settings': run.settings,
                    'work_dir': run.work_dir,
                    'seconds': seconds,
                },
            )
        )

    def is_lost(self, trial: FrozenTrial) -> bool:
        """Return whether the process that ran a trial has died."""
        attrs = trial.user_attrs
        return trial.state == TrialState.RUNNING and self.watch.is_lost(
            trial.number, attrs.get('owner'), attrs.get('heartbeat')
        )

    def release_lost(self) -> list[str]:
        """Let trainings wait again whose process died, and return their labels."""
        released = []
        for key, trial in self.current().items():
            lost = key in self.runs and self.is_lost(trial)
            if lost and end_trial(self.optuna, trial.number, TrialState.FAIL):
                released.append(self.runs[key].label)
        return released

    def claim(self) -> tuple[PlannedRun, Lease] | None:
        """Take the first training that can start, for this process alone; None if none can."""
        while True:
            current = self.current()
            waiting = (run for run in self.plan if state_of(current.get(run.key)) == 'waiting')
            run = next((run for run in waiting if self._is_ready(run, current)), None)
            if run is None:
                return None
            trial = current.get(run.key)
            if trial is None or trial.state != TrialState.WAITING:
                self._add(run, TrialState.WAITING, trial)
            claimed = self._take()
            if claimed is not None:
                return claimed

    def _is_ready(self, run: PlannedRun, current: dict[Key, FrozenTrial]) -> bool:
        """Return whether all that a training needs is done, and its settings are those of now."""
        trial = current.get(run.key)
        if trial is not None and not self.same_settings(run, trial):
            return False
        if any(state_of(current.get(need)) != 'done' for need in run.needs.values()):
            return False
        # The first seed of a search's point draws the values for the others.
        first = self._first_seed(run)
        drawn = current[first].params if first in current else {}
        return not run.space or first == run.key or len(drawn) == len(run.space)

    def _first_seed(self, run: PlannedRun) -> Key:
        return next(other.key for other in self.plan if other.name == run.name)

    def _take(self) -> tuple[PlannedRun, Lease] | None:
        """Ask Optuna for a trial; end it and return None if it is not to be run by this process."""
        variation = self.study.variation
        study = optuna.load_study(
            study_name=self.study.name, storage=self.storage, pruner=_pruner(variation)
        )
        trial = study.ask()
        run = self._to_run(trial)
        if run is None:
            end_trial(study, trial, TrialState.FAIL)
            return None
        trial.set_user_attr('owner', this_process())
        if run.space:
            # Optuna draws at the first `suggest`. A point does not depend on who runs it.
            study.sampler = _sampler(variation, run.point or 0)
        return run, Lease(trial, study, run)

    def _to_run(self, trial: Trial) -> PlannedRun | None:
        """Return the training of a trial that was handed out, if it is to be run.

        It is not if another process was faster, which leaves an empty trial or a second one of
        the same attempt, or if the config of the process that added it differs.
        """
        attrs, current = trial.user_attrs, self.current()
        run = self.runs.get((attrs.get('run'), attrs.get('seed')))
        if run is None or current[run.key].number != trial.number:
            return None
        return run if self._is_ready(run, current) else None

    def busy(self) -> list[str]:
        """Return what somebody trains: others may need it, or its process may die."""
        current = self.current()
        return [run.label for run in self.plan if state_of(current.get(run.key)) == 'running']


def state_of(trial: FrozenTrial | None) -> str:
    """Return a training's state, one of the values of `STATES`, from the trial that counts.

    A FAIL without the user attribute 'error' was interrupted, or its process died: it waits for
    another attempt, as a training without a trial does for its first.
    """
    if trial is None or (trial.state == TrialState.FAIL and 'error' not in trial.user_attrs):
        return 'waiting'
    return STATES[trial.state]


def _attempt(trial: FrozenTrial) -> int:
    return trial.user_attrs['attempt']


def _sampler(variation: Variation, point: int) -> optuna.samplers.BaseSampler:
    seed = variation.seed * 100_003 + point
    if variation.sampler == 'Random':
        return optuna.samplers.RandomSampler(seed=seed)
    # In groups, since other runs of the study have no parameters. Running points count as bad
    # ones, so that processes that work at the same time do not try the same.
    return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)


def _pruner(variation: Variation | None) -> optuna.pruners.BasePruner:
    if variation is None or variation.pruner is None:
        return optuna.pruners.NopPruner()
    return getattr(optuna.pruners, f'{variation.pruner}Pruner')()
