"""The trainings of a study as the trials of one Optuna study that many processes share.

Each attempt at a training is a trial. A process takes a training by adding a trial in the state
RUNNING. Optuna numbers trials in the order in which they are added: if several processes begin the
same attempt at the same time, the one with the lowest number has it. Trials are never removed, and
an ended trial never changes. The process writes a heartbeat into its trial, and a trial without
one for `GRACE` seconds is taken over.

`Study.optimize` is not used, because it takes a trial before its run is known. Optuna's own
heartbeat is not used, because it ends at the first error of the database.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from uuid import uuid4

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.exc import SQLAlchemyError

from mmseg_kd.errors import user_errors
from mmseg_kd.studies.config import Study
from mmseg_kd.studies.plan import PlannedRun
from mmseg_kd.studies.settings import changed_keys
from mmseg_kd.studies.sharing.storage import reason

STATES = dict(WAITING='waiting', RUNNING='running', COMPLETE='done', PRUNED='done', FAIL='failed')
# Seconds between heartbeats, and seconds without one after which a process counts as dead. The
# clocks of machines may differ by as much as these two do.
HEARTBEAT, GRACE = 20.0, 120.0
Key = tuple[str, int]


class Lease:
    """The right to run one training, until it ends or another process takes it over.

    All methods raise `UpdateFinishedTrialError` if another process has taken it over.

    Args:
        queue: The queue.
        run: The training.
        trial_id: Id of the running trial in the queue's storage.
    """

    def __init__(self, queue: RunQueue, run: PlannedRun, trial_id: int) -> None:
        self.run, self._queue, self._id, self._beaten = run, queue, trial_id, time.time()
        drawn = queue.storage.get_trial(trial_id).params
        self.params = {p.key: p.decode(drawn[p.key]) for p in run.space} or run.params

    def set(self, name: str, value: Any) -> None:
        """Store a value with the trial."""
        self._queue.storage.set_trial_user_attr(self._id, name, value)

    def beat(self) -> None:
        """Store a heartbeat if it is time for one."""
        if time.time() - self._beaten > HEARTBEAT:
            self._beaten = time.time()
            try:
                self.set('heartbeat', self._beaten)
            except (StorageInternalError, SQLAlchemyError, OSError) as error:
                # A database that is away for a while is not a reason to stop training.
                print(f'warning: the storage does not answer: {reason(error)}', flush=True)

    def finish(self, state: TrialState, value: float | None = None) -> None:
        """End the trial; that of a training without an error stores its best value."""
        values = None if value is None else [value]
        self._queue.storage.set_trial_state_values(self._id, state, values)


class RunQueue:
    """Give each training of a plan to one worker at a time.

    A training is identified by its name and seed. Its attempts are numbered by the user attribute
    'attempt'. The trial that counts is the first one of the last attempt.

    Args:
        study: The study.
        plan: Its trainings, in order.
        storage: As `open_storage` returns it.
    """

    def __init__(self, study: Study, plan: Sequence[PlannedRun], storage: BaseStorage) -> None:
        self.study, self.plan, self.storage = study, plan, storage
        self.runs = {run.key: run for run in plan}
        self._worker = uuid4().hex
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        name = dict(study_name=study.name, storage=storage)
        try:
            # Creating an existing study would write, and the folder may be read-only.
            self.optuna = optuna.load_study(**name)
        except KeyError:
            self.optuna = optuna.create_study(**name, direction='maximize', load_if_exists=True)
        self._study_id = storage.get_study_id_from_name(study.name)

    def current(self) -> dict[Key, FrozenTrial]:
        """Return the trial that counts of each training that was begun, planned or not."""
        found: dict[Key, FrozenTrial] = {}
        # The sort keeps the order of the trials of one attempt.
        for trial in sorted(self._trials(), key=_attempt, reverse=True):
            found.setdefault((trial.user_attrs['run'], trial.user_attrs['seed']), trial)
        return found

    def state_of(self, trial: FrozenTrial | None) -> str:
        """Return a training's state, one of the values of `STATES`, from the trial that counts.

        A training waits for its next attempt if its process has died or was interrupted. An
        interrupted trial is a FAIL without the user attribute 'error'.
        """
        if trial is None or (trial.state == TrialState.FAIL and 'error' not in trial.user_attrs):
            return 'waiting'
        # Earlier versions wrote no heartbeat, or the time since the machine was started.
        # One in the future is of a clock that was wrong.
        silent = abs(time.time() - trial.user_attrs.get('heartbeat', 0.0)) > GRACE
        dead = trial.state == TrialState.RUNNING and silent
        return 'waiting' if dead else STATES[trial.state.name]

    def _trials(self) -> list[FrozenTrial]:
        # Earlier versions left trials without a run.
        return [t for t in self.optuna.get_trials(deepcopy=False) if 'run' in t.user_attrs]

    def same_settings(self, run: PlannedRun, trial: FrozenTrial) -> bool:
        """Return whether a trial has the settings of a planned run, as far as they matter."""
        return not changed_keys(trial.user_attrs['settings'], run.settings)

    def retry_failed(self) -> None:
        """Let failed trainings wait again."""
        current = self.current()
        for run in self.plan:
            if self.state_of(trial := current.get(run.key)) == 'failed':
                self.put_back(run, trial)

    def put_back(self, run: PlannedRun, trial: FrozenTrial) -> None:
        """Let a training wait for the attempt that follows a trial."""
        with suppress(UpdateFinishedTrialError):
            self._add(run, TrialState.FAIL, trial, {})

    def claim(self) -> Lease | None:
        """Take the first training that can start, for this process alone; None if none can."""
        while True:
            current = self.current()
            run = next((run for run in self.plan if self._can_start(run, current)), None)
            if run is None:
                return None
            earlier = current.get(run.key)
            problem, advice = 'the search space was edited (', '): write another study.name'
            try:
                # Optuna refuses a key whose kind or choices have changed.
                with user_errors(problem, ValueError, after=advice):
                    params = self._drawn(run) or self._draw(run)
                    trial_id = self._add(run, TrialState.RUNNING, earlier, params)
            except UpdateFinishedTrialError:
                continue
            lease = Lease(self, run, trial_id)
            number = self.storage.get_trial_number_from_id(trial_id)
            if self.current()[run.key].number == number and self._drawn(run) == params:
                return lease
            # Another process was faster with this run, or with another seed of this point.
            lease.finish(TrialState.FAIL)

    def _can_start(self, run: PlannedRun, current: dict[Key, FrozenTrial]) -> bool:
        """Return whether a training waits, and all that it needs is done."""
        needed = [self.state_of(current.get(need)) for need in run.needs.values()]
        return self.state_of(current.get(run.key)) == 'waiting' and set(needed) <= {'done'}

    def _drawn(self, run: PlannedRun) -> dict[str, Any]:
        """Return the values of a search that the first seed of a point has; {} if none has."""
        for trial in self._trials() if run.space else ():
            other = self.runs.get((trial.user_attrs['run'], trial.user_attrs['seed']))
            drawn = trial.params and other is not None and other.name == run.name
            if drawn and self.same_settings(other, trial):
                return trial.params
        return {}

    def _draw(self, run: PlannedRun) -> dict[str, Any]:
        """Let the sampler choose the values of a search, given those of all trials so far."""
        if not run.space:
            return {}
        # The same for every process; numpy takes seeds of 32 bits.
        seed = (self.study.variation.seed * 100_003 + run.point) % 2**32
        if self.study.variation.sampler == 'Random':
            sampler = optuna.samplers.RandomSampler(seed=seed)
        else:
            # In groups, because an edited search may have other keys. Running points count as bad
            # ones, so that processes try different points.
            settings = dict(multivariate=True, group=True, constant_liar=True)
            sampler = optuna.samplers.TPESampler(seed=seed, **settings)
        copy = optuna.create_study(direction='maximize', sampler=sampler)
        copy.add_trials(t for t in self._trials() if t.params and t.state != TrialState.WAITING)
        return copy.ask({p.key: p.distribution for p in run.space}).params

    def _add(
        self, run: PlannedRun, state: TrialState, earlier: FrozenTrial | None, params: dict
    ) -> int:
        """Add the attempt that follows a trial, and return its id."""
        if earlier is not None and earlier.state == TrialState.RUNNING:
            # Its owner, asleep or cut off, finds out at its next heartbeat.
            self._fail(earlier)
        attrs = dict(run=run.name, seed=run.seed, settings=run.settings, worker=self._worker)
        attrs |= dict(attempt=_attempt(earlier) + 1 if earlier else 1, heartbeat=time.time())
        drawn = {p.key: p.distribution for p in run.space if params}
        trial = create_trial(state=state, params=params, distributions=drawn, user_attrs=attrs)
        return self.storage.create_new_trial(self._study_id, trial)

    def _fail(self, trial: FrozenTrial) -> None:
        id_of = self.storage.get_trial_id_from_study_id_trial_number
        self.storage.set_trial_state_values(id_of(self._study_id, trial.number), TrialState.FAIL)

    def give_back(self) -> None:
        """Let what this process was training wait again."""
        for trial in self._trials():
            own = trial.user_attrs.get('worker') == self._worker
            if own and trial.state == TrialState.RUNNING:
                self._fail(trial)

    def in_state(self, state: str) -> list[PlannedRun]:
        """Return the planned trainings in a state, one of the values of `STATES`."""
        current = self.current()
        return [run for run in self.plan if self.state_of(current.get(run.key)) == state]


def _attempt(trial: FrozenTrial) -> int:
    return trial.user_attrs['attempt']
