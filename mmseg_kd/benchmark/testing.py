"""Whole runs of testing, from the start of Python to the metrics, here and in stock mmseg.

Run as a module it is one of the two: `python -m mmseg_kd.benchmark.testing stock CONFIG`.
"""

from __future__ import annotations

import copy
import functools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import MODELS

from mmseg_kd.benchmark.data import stock_dataloader
from mmseg_kd.benchmark.loop import STOCK_HOOKS
from mmseg_kd.benchmark.stock import stock_model
from mmseg_kd.config import load_config, prepare_test
from mmseg_kd.engine import build_runner

CHECKPOINT = 'random.pth'


def testing_runs(cfg: Config, work_dir: str | Path) -> dict[str, Callable[[], None]]:
    """What tests random weights on a config's test split, each in a process of its own.

    The stock run is what mmseg's `tools/test.py` does: mmengine's Runner with mmseg's model,
    default hooks and `IoUMetric`, one image at a time.

    Args:
        cfg: A config that can be tested.
        work_dir: For the checkpoints and logs.

    Returns:
        Callables for `stock` and `mmseg_kd`.
    """
    runs = {}
    for kind, model in (('stock', stock_model(cfg.model)), ('mmseg_kd', _own_model(cfg))):
        folder = Path(work_dir) / kind
        folder.mkdir(parents=True, exist_ok=True)
        torch.save({'state_dict': model.state_dict()}, folder / CHECKPOINT)
        cfg.dump(folder / 'config.py')
        runs[kind] = functools.partial(_in_a_process, kind, folder / 'config.py')
    return runs


def _own_model(cfg: Config) -> torch.nn.Module:
    return MODELS.build(cfg.model | dict(pretrained=None))


def _in_a_process(kind: str, config: Path) -> None:
    command = [sys.executable, '-m', 'mmseg_kd.benchmark.testing', kind, str(config)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)


def _test_stock(config: Path) -> None:
    cfg = Config.fromfile(config)
    init_default_scope('mmseg')
    loader = stock_dataloader(cfg.test_dataloader)
    loader.update(batch_size=1, sampler=dict(type='DefaultSampler', shuffle=False))
    Runner(
        model=stock_model(cfg.model),
        work_dir=str(config.parent),
        load_from=str(config.parent / CHECKPOINT),
        test_dataloader=loader,
        test_cfg=dict(type='TestLoop'),
        test_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']),
        default_hooks=copy.deepcopy(STOCK_HOOKS),
        log_processor=dict(by_epoch=False),
        visualizer=cfg.visualizer | dict(type='SegLocalVisualizer'),
        env_cfg=cfg.env_cfg,
        default_scope='mmseg',
        cfg=cfg,
    ).test()


def _test_own(config: Path) -> None:
    cfg = load_config(str(config))
    cfg.work_dir = str(config.parent)
    prepare_test(cfg, str(config.parent / CHECKPOINT))
    build_runner(cfg).test()


if __name__ == '__main__':
    {'stock': _test_stock, 'mmseg_kd': _test_own}[sys.argv[1]](Path(sys.argv[2]))
