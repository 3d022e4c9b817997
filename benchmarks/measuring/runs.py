"""Data loading and whole iterations of a config, here and in stock mmseg."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import cv2
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch.utils.data import Sampler

from measuring.stock import (
    ENDLESS,
    stock_dataloader,
    stock_optim_wrapper,
    stock_runner,
)
from mmseg_kd.engine import build_runner

SEED = 0
PREFETCHED = 8


def data_runs(cfg: Config, workers: int = 1, samples: int = 16) -> dict[str, Callable[[], None]]:
    """Make functions that draw the next samples of a config's training stream.

    Every image has been loaded once before, so that a cache is full. Between two calls the
    workers are idle, so that nothing is prepared during the other run's time.

    Args:
        cfg: A config with a `train_dataloader`.
        workers: Worker processes; with 0 this process prepares the samples.
        samples: Samples per call; a multiple of the batch size.

    Returns:
        Functions for `stock` and `mmseg_kd`.
    """
    # As a runner sets it before it starts its workers.
    cv2.setNumThreads(cfg.get('env_cfg', {}).get('mp_cfg', {}).get('opencv_num_threads', 0))
    loaders = dict(stock=stock_dataloader(cfg.train_dataloader), mmseg_kd=cfg.train_dataloader)
    return {name: _draws(loader, workers, samples) for name, loader in loaders.items()}


def _draws(dataloader: dict, workers: int, samples: int) -> Callable[[], None]:
    dataloader = copy.deepcopy(dict(dataloader))
    dataloader.update(num_workers=workers, persistent_workers=workers > 0)
    with DefaultScope.overwrite_default_scope('mmseg'):
        loader = Runner.build_dataloader(dataloader, seed=SEED)
    for index in range(len(loader.dataset)):
        loader.dataset[index]
    loader.batch_sampler.sampler = _Turns(loader.sampler, samples)

    def draw() -> None:
        for _ in loader:
            pass

    return draw


class _Turns:
    """Give a few indices of an endless stream each time it is iterated."""

    def __init__(self, stream: Sampler, turn: int) -> None:
        self.stream, self.turn = iter(stream), turn

    def __iter__(self) -> Iterator[int]:
        return islice(self.stream, self.turn)

    def __len__(self) -> int:
        return self.turn


def loop_runs(cfg: Config, work_dir: str | Path, iterations: int = 10) -> dict[str, Callable]:
    """Make functions that train a few iterations, whole or their bare steps.

    A step is data preprocessing, forward, backward and optimizer on batches that are loaded
    already. An iteration has data loading, hooks and log lines too, but neither evaluations nor
    checkpoints.

    Args:
        cfg: A training config.
        work_dir: Where both runners log.
        iterations: Number per call.

    Returns:
        Functions for `step`, `iteration`, `stock step` and `stock iteration`.
    """
    cfg = copy.deepcopy(cfg)
    for key in ('val_dataloader', 'val_cfg', 'val_evaluator'):
        cfg.pop(key, None)
    cfg.train_cfg.update(max_iters=ENDLESS, val_interval=ENDLESS)
    cfg.model.pretrained = None
    cfg.default_hooks.checkpoint.interval = ENDLESS
    cfg.work_dir = str(Path(work_dir) / 'mmseg_kd')
    stock = stock_runner(
        cfg,
        Path(work_dir) / 'stock',
        train_dataloader=stock_dataloader(cfg.train_dataloader),
        train_cfg=cfg.train_cfg | dict(type='IterBasedTrainLoop'),
        optim_wrapper=stock_optim_wrapper(cfg.optim_wrapper),
        param_scheduler=copy.deepcopy(cfg.param_scheduler),
        randomness=cfg.randomness,
    )
    runs = {}
    for name, runner in {'': build_runner(cfg), 'stock ': stock}.items():
        _start(runner)
        runs[f'{name}step'] = _step(runner, iterations)
        runs[f'{name}iteration'] = _iteration(runner, iterations)
    return runs


def _start(runner: Runner) -> None:
    """Do what comes before the first iteration; log lines go to the file only."""

    def before_first_iteration() -> None:
        runner.call_hook('before_train')
        runner.call_hook('before_train_epoch')

    # `train` prepares everything and then calls it.
    runner.train_loop.run = before_first_iteration
    runner.train()
    for handler in runner.logger.handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.setLevel(logging.ERROR)


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
    loop = runner.train_loop

    def iterate() -> None:
        for _ in range(iterations):
            runner.model.train()
            loop.run_iter(next(loop.dataloader_iterator))

    return iterate
