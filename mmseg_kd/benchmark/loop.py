"""A training iteration as the runner runs it, beside its bare step, here and in stock mmseg."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import IterBasedTrainLoop, Runner
from mmseg.registry import LOOPS

from mmseg_kd.benchmark.data import stock_dataloader
from mmseg_kd.benchmark.stock import stock_model, stock_optim_wrapper
from mmseg_kd.engine import PrefetchingTrainLoop, build_runner

ENDLESS = 10**6
PREFETCHED = 8

# The default hooks of mmseg's configs.
STOCK_HOOKS = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=ENDLESS),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='SegVisualizationHook'),
)


class Stepped:
    """A training loop that is advanced from outside, a few iterations at a time."""

    def run(self) -> None:
        """Do what comes before the first iteration."""
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')

    def advance(self, iterations: int) -> None:
        """Train; what happens in an iteration is what mmengine's `run` does."""
        for _ in range(iterations):
            self.runner.model.train()
            self.run_iter(next(self.dataloader_iterator))
            self._decide_current_val_interval()


@LOOPS.register_module()
class SteppedTrainLoop(Stepped, PrefetchingTrainLoop):
    """This project's loop."""


@LOOPS.register_module()
class SteppedStockLoop(Stepped, IterBasedTrainLoop):
    """mmengine's loop."""


def loop_runs(cfg: Config, work_dir: str | Path, iterations: int = 10) -> dict[str, Callable]:
    """What trains a few iterations a call, for an interleaving harness.

    `step` is data preprocessing, forward, backward and optimizer on batches that are there
    already; `iteration` is all of an iteration, with data loading, hooks and log lines, but
    without evaluations and checkpoints. The stock pair is mmengine's Runner with mmseg's
    default hooks, pipeline and model, and the same optimizer as mmengine builds it.

    Args:
        cfg: A training config.
        work_dir: Where both runners log.
        iterations: How many a call trains.

    Returns:
        Callables for `step`, `iteration`, `stock step` and `stock iteration`.
    """
    cfg = copy.deepcopy(cfg)
    for key in ('val_dataloader', 'val_cfg', 'val_evaluator'):
        cfg.pop(key, None)
    cfg.train_cfg = dict(type='SteppedTrainLoop', max_iters=ENDLESS, val_interval=ENDLESS)
    cfg.model.pretrained = None
    cfg.default_hooks.checkpoint.interval = ENDLESS
    runners = {
        '': _ours(cfg, Path(work_dir) / 'mmseg_kd'),
        'stock ': _stock(cfg, Path(work_dir) / 'stock'),
    }
    runs = {}
    for name, runner in runners.items():
        runner.train()
        for handler in runner.logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                # A log line is written, to the file; the console is the harness'.
                handler.setLevel(logging.ERROR)
        runs[f'{name}step'] = _step(runner, iterations)
        runs[f'{name}iteration'] = _iteration(runner, iterations)
    return runs


def _ours(cfg: Config, work_dir: Path) -> Runner:
    cfg = copy.deepcopy(cfg)
    cfg.work_dir = str(work_dir)
    return build_runner(cfg)


def _stock(cfg: Config, work_dir: Path) -> Runner:
    return Runner(
        model=stock_model(cfg.model),
        work_dir=str(work_dir),
        train_dataloader=stock_dataloader(cfg.train_dataloader),
        train_cfg=cfg.train_cfg | dict(type='SteppedStockLoop'),
        optim_wrapper=stock_optim_wrapper(cfg.optim_wrapper),
        param_scheduler=cfg.param_scheduler,
        default_hooks=STOCK_HOOKS,
        log_processor=dict(by_epoch=False),
        visualizer=cfg.visualizer,
        randomness=cfg.randomness,
        default_scope='mmseg',
        experiment_name=f'stock_{work_dir.parent.name}',
    )


def _step(runner: Runner, iterations: int) -> Callable[[], None]:
    model, optimizer = runner.model, runner.optim_wrapper.optimizer
    batches = [next(runner.train_loop.dataloader_iterator) for _ in range(PREFETCHED)]

    def step() -> None:
        for i in range(iterations):
            batch = model.data_preprocessor(batches[i % PREFETCHED], training=True)
            losses = model.loss(**batch)
            sum(value for name, value in losses.items() if 'loss' in name).backward()
            optimizer.step()
            optimizer.zero_grad()

    return step


def _iteration(runner: Runner, iterations: int) -> Callable[[], None]:
    return lambda: runner.train_loop.advance(iterations)
