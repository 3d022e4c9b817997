"""A live progress line."""

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
