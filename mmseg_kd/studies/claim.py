"""A training that this process has taken from the queue."""

from __future__ import annotations

import logging
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import Trial, TrialState

from mmseg_kd.studies.plan import PlannedRun


class Claim:
    """A training that this process runs: the trial, its heartbeat and its end.

    Args:
        trial: The trial, running.
        storage: Where it is kept.
        run: The training.
    """

    def __init__(self, trial: Trial, storage: BaseStorage, run: PlannedRun) -> None:
        self.trial, self.storage = trial, storage
        self.params = {
            p.key: p.decode(_draw(trial, p.key, p.distribution)) for p in run.space
        } or dict(run.params)
        self._beats = 0

    @property
    def number(self) -> int:
        """The trial's."""
        return self.trial.number

    def set(self, name: str, value: Any) -> bool:
        """Keep something with the trial; False where it was given to another process."""
        try:
            self.storage.set_trial_user_attr(self.trial._trial_id, name, value)
        except UpdateFinishedTrialError:
            return False
        return True

    def beat(self) -> bool:
        """Say that this process lives; False where the training was given to another."""
        self._beats += 1
        try:
            return self.set('heartbeat', self._beats)
        except Exception as error:
            # A database that is away for a while is no reason to stop training.
            logging.getLogger('mmengine').warning(f'the storage does not answer: {error}')
        return True

    def should_prune(self, step: int, value: float) -> bool:
        """Report an evaluation and ask whether to stop."""
        try:
            self.trial.report(value, step)
        except UpdateFinishedTrialError:
            return True
        return self.trial.should_prune()

    def finish(self, state: TrialState, value: float | None = None) -> bool:
        """End the trial; False where it was given to another before."""
        values = None if value is None else [value]
        try:
            self.storage.set_trial_state_values(self.trial._trial_id, state=state, values=values)
        except UpdateFinishedTrialError:
            return False
        return True


def _draw(trial: Trial, key: str, distribution: BaseDistribution) -> Any:
    """What the trial has, else what its sampler chooses."""
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(key, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(key, distribution.low, distribution.high)
    return trial.suggest_float(key, distribution.low, distribution.high, log=distribution.log)
