"""How long a run takes: a live progress line, the seconds of a training, those of an iteration."""

import sys
import time
from contextlib import ExitStack
from statistics import median
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm


@HOOKS.register_module()
class ProgressHook(Hook):
    """Show how far training, validation or testing is, and when it will be done.

    On a terminal only; in a file the log lines, which have the ETA too, are enough.
    """

    priority = 'LOW'

    def __init__(self) -> None:
        self._bars: list[tqdm] = []
        self._redirection = ExitStack()

    def _before_epoch(self, runner: Runner, mode: str = 'train') -> None:
        training = mode == 'train'
        # The bar of a training over epochs is that of all epochs.
        if not (is_main_process() and sys.stderr.isatty()) or (training and self._bars):
            return
        if not self._bars:
            # Log lines go above the bar instead of through it.
            self._redirection.enter_context(logging_redirect_tqdm(loggers=[runner.logger]))
        bar = tqdm(
            desc=mode,
            total=runner.max_iters if training else len(getattr(runner, f'{mode}_dataloader')),
            initial=runner.iter if training else 0,
            dynamic_ncols=True,
            leave=False,
            position=len(self._bars),
        )
        self._bars.append(bar)

    def _after_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        if self._bars:
            self._bars[-1].update()

    def after_train(self, runner: Runner, metrics: dict | None = None) -> None:
        """Close the bar."""
        if self._bars:
            self._bars.pop().close()
        if not self._bars:
            self._redirection.close()

    after_val_epoch = after_test_epoch = after_train


@HOOKS.register_module()
class TrainingTimeHook(Hook):
    """Measure the seconds of training, without start-up, evaluations and checkpoints.

    The end of the log and the scalar `training_seconds` have them. A resumed run adds to the
    seconds of its checkpoint. A run with `train_cfg.time_budget` has this hook by itself.
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self.seconds = 0.0
        # When the clock was started; None while it stands.
        self._since: float | None = None

    def before_train(self, runner: Runner) -> None:
        """Continue from the seconds of the checkpoint."""
        self.seconds = runner.message_hub.get_info('training_seconds', 0.0)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Start the clock, when the first batch or the first one after a pause has arrived."""
        if self._since is None:
            self._since = _now()

    def before_val(self, runner: Runner) -> None:
        """Stop the clock during an evaluation."""
        self._stop()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Stop the clock while a checkpoint is written, and put the seconds into it."""
        self._stop()
        checkpoint['message_hub']['runtime_info']['training_seconds'] = self.seconds

    def after_train(self, runner: Runner) -> None:
        """Log the seconds."""
        self._stop()
        runner.visualizer.add_scalars({'training_seconds': self.seconds}, step=runner.iter)
        runner.logger.info(
            f'training took {self.seconds:.1f} s without start-up, evaluations and checkpoints'
        )

    def _stop(self) -> None:
        if self._since is not None:
            self.seconds += _now() - self._since
            self._since = None


@HOOKS.register_module()
class PaceHook(Hook):
    """Time blocks of iterations, then stop the training.

    The scalar `seconds_per_iter` is that of the median block, so that other work on the machine
    that lasts for less than half of the time does not change it.

    Args:
        skip: Number of iterations at the start that do not count. The rest of the first epoch does
            not count either, in which images are read for the first time, but for 15 s at most.
        blocks: Number of blocks.
        seconds: The shortest time of a block, which has two iterations at least.
    """

    priority = 'VERY_HIGH'

    def __init__(self, skip: int = 10, blocks: int = 9, seconds: float = 1.0) -> None:
        self.skip, self.blocks, self.seconds = skip, blocks, seconds
        self._paces: list[float] = []
        self._began = 0.0

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """End a block, and after the last one the training."""
        done = runner.iter + 1
        self._began = self._began or time.perf_counter()
        reading = done <= len(runner.train_dataloader) and time.perf_counter() < self._began + 15
        if done <= self.skip or reading:
            self._first, self._since = done, _now()
        # Without waiting for the device, as the training itself does not.
        elif done - self._first >= 2 and time.perf_counter() - self._since >= self.seconds:
            now = _now()
            self._paces.append((now - self._since) / (done - self._first))
            self._first, self._since = done, now
            if len(self._paces) == self.blocks:
                pace = median(self._paces)
                runner.visualizer.add_scalars({'seconds_per_iter': pace}, step=done)
                runner.train_loop.stop_training = True


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
