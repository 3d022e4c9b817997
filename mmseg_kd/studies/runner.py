"""Run a study: alone, together with other processes, and again after an interruption."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from mmseg_kd.checkpoints import find_latest_checkpoint
from mmseg_kd.errors import UserError
from mmseg_kd.records.progress import read_progress
from mmseg_kd.studies.lease import Lease
from mmseg_kd.studies.owner import HEARTBEAT, this_process, with_child
from mmseg_kd.studies.plan import PlannedRun
from mmseg_kd.studies.run_queue import RunQueue, state_of
from mmseg_kd.studies.settings import differences
from mmseg_kd.studies.state import write_state
from mmseg_kd.studies.training_process import Task, TrainingProcess

# Seconds between two looks of a process that waits for others.
LOOK_AGAIN = 2.0


class StudyRunner:
    """Train what is left of a study until nothing more can be run.

    Args:
        queue: Queue of the study's trainings.
        folder: Folder of the study.
        devices: Values of `CUDA_VISIBLE_DEVICES`, each for one training at a time; None trains one
            at a time and leaves the variable as it is.
    """

    def __init__(self, queue: RunQueue, folder: Path, devices: Sequence[str] | None = None) -> None:
        self.study, self.plan, self.queue, self.folder = queue.study, queue.plan, queue, folder
        self.devices = list(devices) if devices else [None]
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._processes: list[TrainingProcess] = []

    def run(self, retry_failed: bool = False, rerun_changed: bool = False) -> dict[str, Any]:
        """Train what is left and return the study's state at the end, as in `study.json`.

        Args:
            retry_failed: Train failed runs again.
            rerun_changed: Train runs again whose config was edited since.

        Raises:
            UserError: The config of a run was edited since it was trained.
            KeyboardInterrupt: The user stopped the study; its trainings can be resumed.
        """
        self._handle_changed(rerun_changed)
        self.queue.prepare(retry_failed)
        write_state(self.queue, self.folder)
        slots: list[Future] = []
        try:
            with ThreadPoolExecutor(len(self.devices)) as pool:
                try:
                    slots += (pool.submit(self._work, device) for device in self.devices)
                    _wait_for(slots)
                finally:
                    self._wind_up(slots)
        finally:
            state = write_state(self.queue, self.folder)
        for slot in slots:
            slot.result()
        return state

    def _wind_up(self, slots: Sequence[Future]) -> None:
        """Stop what still trains so that it can be resumed; a second Ctrl-C kills it."""
        self._stopping.set()
        while True:
            try:
                return _wait_for(slots)
            except KeyboardInterrupt:
                for process in list(self._processes):
                    process.kill()

    def _handle_changed(self, rerun: bool) -> None:
        current, changed = self.queue.current(), []
        for run in self.plan:
            trial = current.get(run.key)
            if trial is None or self.queue.same_settings(run, trial):
                continue
            if state_of(trial) in ('waiting', 'failed') and not self._begun(run):
                continue
            if trial.state == TrialState.RUNNING and not self.queue.is_lost(trial):
                raise UserError(
                    f'{run.label} is being trained by another process with another config '
                    f'({differences(trial.user_attrs["settings"], run.settings)}); stop that first'
                )
            changed.append((run, trial))
        if changed and not rerun:
            raise UserError(_changes(changed))
        for run, trial in changed:
            self._set_aside(run)
            if trial.state != TrialState.RUNNING:
                self.queue.put_back(run, trial)

    def _begun(self, run: PlannedRun) -> bool:
        return find_latest_checkpoint(self.folder / run.work_dir) is not None

    def _set_aside(self, run: PlannedRun) -> None:
        old = self.folder / run.work_dir
        if not old.is_dir():
            return
        number = 1
        while (kept := old.with_name(f'{old.name}.old{number}')).exists():
            number += 1
        old.rename(kept)
        self._say(f'{run.label}: the run with the earlier config is kept in {kept}')

    def _work(self, device: str | None) -> None:
        told = False
        try:
            while not self._stopping.is_set():
                for label in self.queue.release_lost():
                    self._say(f'{label}: its process died; it continues from its last checkpoint')
                claimed = self.queue.claim()
                if claimed is not None:
                    told = False
                    self._train(*claimed, device)
                    continue
                busy = self.queue.busy()
                if not busy:
                    return
                if not told:
                    self._say(f'waiting for {", ".join(busy)}')
                told = True
                self._stopping.wait(LOOK_AGAIN)
        except BaseException:
            self._stopping.set()
            raise

    def _train(self, run: PlannedRun, lease: Lease, device: str | None) -> None:
        place = f'[{self.plan.index(run) + 1}/{len(self.plan)}]'
        point = ', '.join(f'{key}={value}' for key, value in lease.params.items())
        self._say(f'{place} {run.label}' + (f': {point}' if point else ''))
        started = time.monotonic()
        process = TrainingProcess(
            self._task(run, lease),
            on_evaluation=lambda step, metrics: self._report(lease, step, metrics),
            device=device,
            console=self.folder / run.work_dir / 'console.log' if len(self.devices) > 1 else None,
        )
        self._processes.append(process)
        try:
            lease.set('owner', with_child(this_process(), process.pid))
            with self._lock:
                write_state(self.queue, self.folder)
            kept = self._follow(process, lease)
        except BaseException:
            process.kill()
            raise
        finally:
            self._processes.remove(process)
        if not kept:
            self._say(f'{run.label} was taken over by another process')
            return
        earlier = lease.trial.user_attrs['seconds']
        self._finish(run, lease, process.outcome, earlier + time.monotonic() - started, place)
        with self._lock:
            write_state(self.queue, self.folder)

    def _follow(self, process: TrainingProcess, lease: Lease) -> bool:
        """Wait for a training to end; return False if another process took it over."""
        beaten = -HEARTBEAT
        while not process.wait(0.1):
            if self._stopping.is_set():
                process.stop()
                break
            if time.monotonic() - beaten > HEARTBEAT:
                beaten = time.monotonic()
                if not lease.beat():
                    process.kill()
                    return False
        return True

    def _task(self, run: PlannedRun, lease: Lease) -> Task:
        options = {**run.options, **lease.params}
        for key, need in run.needs.items():
            needed = self.folder / self.queue.runs[need].work_dir
            options[key] = str(find_latest_checkpoint(needed) or '')
        return Task(
            run.config,
            options,
            str(self.folder / run.work_dir),
            run.fingerprint,
            run.open_keys,
            run.marks,
            evaluations=bool(run.space) and self.study.variation.pruner is not None,
        )

    def _report(self, lease: Lease, step: int, metrics: dict[str, float]) -> bool:
        if self.study.metric not in metrics:
            return False
        return lease.should_prune(step, metrics[self.study.metric])

    def _finish(
        self, run: PlannedRun, lease: Lease, outcome: dict[str, Any], seconds: float, place: str
    ) -> None:
        lease.set('seconds', round(seconds, 1))
        end, error = outcome['outcome'], outcome.get('error')
        if self._stopping.is_set() and end not in ('done', 'pruned'):
            lease.finish(TrialState.FAIL)
            return
        progress = read_progress(self.folder / run.work_dir)
        best = progress.best(self.study.metric, self.study.direction)
        if end == 'done' and best is None:
            metrics = sorted({key for row in progress.evaluations.values() for key in row})
            end, error = 'failed', f'no evaluation has {self.study.metric}; they have {metrics}'
        if end == 'failed':
            lease.set('error', error)
            lease.finish(TrialState.FAIL)
            self._say(f'{place} {run.label} failed: {error}')
            return
        if not lease.finish(TrialState.COMPLETE if end == 'done' else TrialState.PRUNED, best):
            self._say(f'{run.label} was taken over by another process')
            return
        # A pruned training may have measured nothing but NaN.
        value = '-' if best is None else f'{best:.2f}'
        self._say(f'{place} {run.label} {end}: {self.study.metric} {value}, {seconds:.0f} s')

    def _say(self, text: str) -> None:
        print(text, flush=True)


def _wait_for(slots: Sequence[Future]) -> None:
    # Without a timeout, Windows does not deliver Ctrl-C.
    while wait(slots, timeout=0.1).not_done:
        pass


def _changes(changed: list) -> str:
    lines = [
        f'{run.label} ({differences(trial.user_attrs["settings"], run.settings)})'
        for run, trial in changed[:3]
    ]
    if len(changed) > 3:
        lines.append(f'{len(changed) - 3} more')
    return (
        f'the config was edited since these were trained: {"; ".join(lines)}. Undo the edit, write '
        'another study.name, or add --rerun-changed, which keeps the old folders'
    )
