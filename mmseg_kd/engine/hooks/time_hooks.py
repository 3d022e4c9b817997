"""Times of a run: a progress bar, and the seconds of an iteration."""

import sys
import time
from contextlib import ExitStack
from statistics import median
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from mmseg_kd.engine.devices import now


@HOOKS.register_module()
class ProgressHook(Hook):
    """Show a progress bar with the remaining time of training, validation or testing.

    The bar is shown on a terminal only. The log lines have the remaining time, too.
    """

    priority = 'LOW'

    def __init__(self) -> None:
        self._bars: list[tqdm] = []
        self._redirection = ExitStack()

    def _before_epoch(self, runner: Runner, mode: str = 'train') -> None:
        training = mode == 'train'
        # A training by epochs has one bar for all epochs.
        if not (is_main_process() and sys.stderr.isatty()) or (training and self._bars):
            return
        if not self._bars:
            # Log lines are written above the bar instead of into it, by a handler without a level.
            level = runner.logger.handlers[0].level
            self._redirection.enter_context(logging_redirect_tqdm(loggers=[runner.logger]))
            runner.logger.handlers[-1].setLevel(level)
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
class PaceHook(Hook):
    """Time blocks of iterations, then stop the training.

    The scalar `seconds_per_iter` is the median over the blocks, so other work on the machine does
    not change it if it lasts for less than half of the time.

    Args:
        skip: Number of iterations at the start that are not timed. The rest of the first epoch,
            which reads images for the first time, is not timed either, but for at most 15 s.
        blocks: Number of blocks.
        seconds: Least seconds of a block, which also has at least two iterations.
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
            self._first, self._since = done, now()
        # This check does not wait for the device, because the training does not either.
        elif done - self._first >= 2 and time.perf_counter() - self._since >= self.seconds:
            end = now()
            self._paces.append((end - self._since) / (done - self._first))
            self._first, self._since = done, end
            if len(self._paces) == self.blocks:
                runner.visualizer.add_scalars({'seconds_per_iter': median(self._paces)}, step=done)
                runner.train_loop.stop_training = True
