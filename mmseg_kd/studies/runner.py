"""Run a study: alone, together with other processes, and again after an interruption."""

import textwrap
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from mmseg_kd.checkpoints import find_latest_checkpoint
from mmseg_kd.errors import UserError
from mmseg_kd.paths import relative
from mmseg_kd.records.progress import read_progress
from mmseg_kd.records.run_record import read_run, read_test
from mmseg_kd.studies.plan import PlannedRun
from mmseg_kd.studies.settings import differences, fingerprint, without
from mmseg_kd.studies.sharing.run_queue import Lease, RunQueue
from mmseg_kd.studies.sharing.state import time_left, write_state
from mmseg_kd.studies.training_process import Task, run_training

CHECKPOINT = 'default_hooks.checkpoint'
# Seconds after which a process that waits for others looks again.
LOOK_AGAIN = 2.0
# Flushed, so that a job's log file shows each line at once.
say = partial(print, flush=True)


class StudyRunner:
    """Train what is left of a study until nothing more can be run.

    Args:
        queue: Queue of the study's trainings.
        folder: Folder of the study.
    """

    def __init__(self, queue: RunQueue, folder: Path) -> None:
        self.study, self.plan, self.queue, self.folder = queue.study, queue.plan, queue, folder

    def run(self, retry_failed: bool = False) -> dict[str, Any]:
        """Train what is left and return the study's state at the end, as in `study.json`.

        Args:
            retry_failed: Train failed runs again.

        Raises:
            UserError: The config of a run in the folder was edited since it was trained.
            KeyboardInterrupt: The user stopped the study; its trainings can be resumed.
        """
        self._check_changed()
        if retry_failed:
            self.queue.retry_failed()
        waits_for: list[str] = []
        try:
            while True:
                if lease := self.queue.claim():
                    self._train(lease)
                # Others may need what a process trains now, or it may die.
                elif busy := [run.label for run in self.queue.in_state('running')]:
                    if busy != waits_for:
                        say(f'waiting for {", ".join(busy)}: a process trains it, or died just now')
                    waits_for = busy
                    time.sleep(LOOK_AGAIN)
                else:
                    break
        finally:
            self.queue.give_back()
            state = write_state(self.queue, self.folder)
        return state

    def test(self) -> None:
        """Test the finished runs that were trained while `study.test` was False."""
        for run in self.queue.in_state('done'):
            self._test(run)

    def _test(self, run: PlannedRun, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Test the best checkpoint of a run on the test split, unless that was done before."""
        work_dir = self.folder / run.work_dir
        try:
            found = read_run(work_dir).best_checkpoint(self.study.metric)
        except UserError as error:
            say(f'warning: {run.label} could not be tested: {error}')
            return
        if found is None or read_test(work_dir).get('checkpoint') == found[0].name:
            return
        say(f'{run.label}: testing {found[0].name}')
        config = str(max(work_dir.glob('*/vis_data/config.py')))
        task = Task(config, {}, str(work_dir / 'test'), checkpoint=str(found[0]))
        if error := run_training(task, meanwhile):
            say(f'warning: {run.label} could not be tested: {error}')

    def _check_changed(self) -> None:
        """Refuse runs whose config was edited; those whose folder was deleted wait again."""
        current, changed = self.queue.current(), []
        if gone := sorted({name for name, _ in current} - {run.name for run in self.plan}):
            say(f'no longer in {self.study.file}: {", ".join(gone)}; a renamed run is trained anew')
        for run in self.plan:
            trial, folder = current.get(run.key), self.folder / run.work_dir
            state = self.queue.state_of(trial)
            if trial is None and find_latest_checkpoint(folder):
                raise UserError(
                    f'{relative(folder)} has checkpoints that are unknown to this storage: write '
                    'the --storage that has them, or delete that folder'
                )
            same = trial is None or self.queue.same_settings(run, trial)
            if not folder.is_dir() and (state == 'done' or (state == 'failed' and not same)):
                say(f'{run.label}: its folder is missing, so it is trained again')
                self.queue.put_back(run, trial)
                continue
            if same:
                continue
            keys = f'{run.label} ({differences(trial.user_attrs["settings"], run.settings)})'
            if state == 'running':
                raise UserError(f'another process trains with another config: {keys}; stop it')
            if find_latest_checkpoint(folder) or state == 'done':
                changed.append(keys)
        if changed:
            raise UserError(
                'the config was edited since these were trained: '
                f'{textwrap.shorten("; ".join(changed), 400)}. Undo the edit, write another '
                f'study.name, or delete their folders in {relative(self.folder / "runs")}'
            )

    def _train(self, lease: Lease) -> None:
        run = lease.run
        place = f'[{self.plan.index(run) + 1}/{len(self.plan)}] {run.label}'
        values = [f'{key}={value}' for key, value in lease.params.items()]
        say(', '.join(filter(None, [place, *values, time_left(self.queue, self.folder)])))
        write_state(self.queue, self.folder)
        started = time.monotonic()
        try:
            error = run_training(self._task(lease), lease.beat)
            if self.study.test and error is None:
                # Before the run counts as done, so that each process tests its own runs.
                self._test(run, lease.beat)
            result = self._finish(lease, error)
            say(f'{place} {result}, {time.monotonic() - started:.0f} s')
        except UpdateFinishedTrialError:
            say(f'{run.label} was taken over by another process')
        write_state(self.queue, self.folder)

    def _task(self, lease: Lease) -> Task:
        run = lease.run
        options = {**run.options, **lease.params}
        for key, need in run.needs.items():
            needed = self.folder / self.queue.runs[need].work_dir
            options[key] = str(find_latest_checkpoint(needed) or needed / 'iter_N.pth')
        # Keep the checkpoint whose score the study reports.
        if run.settings.get(f'{CHECKPOINT}.save_best') and f'{CHECKPOINT}.save_best' not in options:
            best = {f'{CHECKPOINT}.save_best': self.study.metric, f'{CHECKPOINT}.rule': 'greater'}
            options |= best
        planned = fingerprint(without(run.settings, [*options, 'study']))
        drawn = tuple(parameter.key for parameter in run.space)
        return Task(run.config, options, str(self.folder / run.work_dir), planned, drawn)

    def _finish(self, lease: Lease, error: str | None) -> str:
        """Store how a training ended, and describe it."""
        progress = read_progress(self.folder / lease.run.work_dir)
        best = progress.best(self.study.metric)
        if error is None and best is None:
            metrics = sorted({key for row in progress.evaluations.values() for key in row})
            error = f'no evaluation has {self.study.metric}; they have {metrics}'
        if error is not None:
            # A process from which this run was taken over still trains it: it waits again.
            if ' is in use by ' not in error:
                lease.set('error', error)
            lease.finish(TrialState.FAIL)
            return f'failed: {error}'
        lease.finish(TrialState.COMPLETE, best)
        return f'done: {self.study.metric} {best:.2f}'
