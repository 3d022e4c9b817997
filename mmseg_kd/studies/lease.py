"""A training that this process has taken from the queue."""

from __future__ import annotations

import logging
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import Trial, TrialState

from mmseg_kd.studies.plan import PlannedRun


class Lease:
    """The right to run one training, until it ends or another process takes it over.

    Args:
        trial: The running trial.
        study: The Optuna study that handed it out.
        run: The training.
    """

    def __init__(self, trial: Trial, study: Study, run: PlannedRun) -> None:
        self.trial, self.study = trial, study
        self.params = {
            p.key: p.decode(_draw(trial, p.key, p.distribution)) for p in run.space
        } or dict(run.params)
        self._beats = 0

    def set(self, name: str, value: Any) -> bool:
        """Store something with the trial; return False if another process took the run over."""
        try:
            self.trial.set_user_attr(name, value)
        except UpdateFinishedTrialError:
            return False
        return True

    def beat(self) -> bool:
        """Record that this process is alive; return False if another took the run over."""
        self._beats += 1
        try:
            return self.set('heartbeat', self._beats)
        except Exception as error:
            # A database that is away for a while is no reason to stop training.
            logging.getLogger('mmengine').warning(f'the storage does not answer: {error}')
        return True

    def should_prune(self, step: int, value: float) -> bool:
        """Report an evaluation and return whether to stop the training."""
        try:
            self.trial.report(value, step)
        except UpdateFinishedTrialError:
            return True
        return self.trial.should_prune()

    def finish(self, state: TrialState, value: float | None = None) -> bool:
        """End the trial; return False if another process took the run over before.

        Args:
            state: How the training ended.
            value: Its best value, of a training that was not stopped by an error.
        """
        # Optuna takes the value of a pruned trial from its last evaluation, not from its best.
        if state == TrialState.PRUNED and not self.set('best', value):
            return False
        complete = state == TrialState.COMPLETE
        return end_trial(self.study, self.trial, state, value if complete else None)


def end_trial(
    study: Study, trial: Trial | int, state: TrialState, value: float | None = None
) -> bool:
    """End a running trial, given by its number or itself; return False if it has ended before."""
    try:
        study.tell(trial, value, state)
    except (UpdateFinishedTrialError, ValueError):
        return False
    return True


def _draw(trial: Trial, key: str, distribution: BaseDistribution) -> Any:
    """Return the trial's value of a parameter, drawn by the sampler if it has none."""
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(key, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(key, distribution.low, distribution.high)
    return trial.suggest_float(key, distribution.low, distribution.high, log=distribution.log)
