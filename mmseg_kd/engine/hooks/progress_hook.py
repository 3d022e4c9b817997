"""A live progress line."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import Any

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
        self._bars: list[tuple[tqdm, ExitStack]] = []

    def _open(self, runner: Runner, what: str, total: int, initial: int = 0) -> None:
        cleanup = ExitStack()
        enabled = is_main_process() and sys.stderr.isatty()
        if enabled and not self._bars:
            # Log lines go above the bar instead of through it.
            cleanup.enter_context(logging_redirect_tqdm(loggers=[runner.logger]))
        bar = tqdm(
            total=total,
            initial=initial,
            desc=what,
            unit='it',
            dynamic_ncols=True,
            leave=False,
            disable=not enabled,
            position=len(self._bars),
        )
        cleanup.callback(bar.close)
        self._bars.append((bar, cleanup))

    def _step(self) -> None:
        if self._bars:
            self._bars[-1][0].update()

    def _close(self) -> None:
        if self._bars:
            self._bars.pop()[1].close()

    def before_train_epoch(self, runner: Runner) -> None:
        """Open the bar of the whole training."""
        self._open(runner, 'train', runner.max_iters, runner.iter)

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Count an iteration."""
        self._step()

    def after_train(self, runner: Runner) -> None:
        """Close the bar."""
        self._close()

    def before_val_epoch(self, runner: Runner) -> None:
        """Open the bar of one evaluation."""
        self._open(runner, 'val', len(runner.val_dataloader))

    def after_val_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Count a batch."""
        self._step()

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Close the bar."""
        self._close()

    def before_test_epoch(self, runner: Runner) -> None:
        """Open the bar of the test."""
        self._open(runner, 'test', len(runner.test_dataloader))

    def after_test_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Count a batch."""
        self._step()

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Close the bar."""
        self._close()
