"""Whole runs on a GPU: every option by itself, the tools, a resumed run, and NCCL."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT, run
from gpu_cases import LOSSES, TOY, TOY_TEACHER, config, small, toy_config, train
from mmengine.config import Config
from torch.distributed import is_nccl_available

from mmseg_kd.checkpoints import read_checkpoint
from mmseg_kd.config import enable_amp

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU'),
]

SHARE = dict(type='AttentionTransferLoss', loss_weight=dict(type='GradientShare', share=0.1))
# Options of a student by dotted key; `amp` is `--amp`.
OPTIONS: dict[str, dict[str, Any]] = {
    'plain': {},
    'amp': dict(amp=True),
    'teacher bfloat16': {'model.teacher.dtype': 'bfloat16'},
    'amp, teacher bfloat16': {'amp': True, 'model.teacher.dtype': 'bfloat16'},
    'float16': {
        'optim_wrapper.type': 'AmpOptimWrapper', 'optim_wrapper.loss_scale': 'dynamic',
    },
    'EMATeacher': {'model.teacher': dict(_delete_=True, type='EMATeacher')},
    'GradientShare': {'model.kd_losses': dict(_delete_=True, at_loss=SHARE)},
    'clip_grad': {'optim_wrapper.clip_grad': dict(max_norm=1.0)},
    'accumulation': {'optim_wrapper.accumulative_counts': 2},
    'workers': {'train_dataloader.num_workers': 2},
    'cuda_graph': dict(cuda_graph=True),
    'cuda_graph, amp': dict(amp=True, cuda_graph=True),
    'cuda_graph, clip_grad': {'cuda_graph': True, 'optim_wrapper.clip_grad': dict(max_norm=1.0)},
    **{
        f'loss {name}': {'model.kd_losses': dict(_delete_=True, x_loss=loss)}
        for name, loss in LOSSES.items()
    },
}  # fmt: skip


@pytest.fixture(scope='module')
def toy_teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work_dir = train(small(config(TOY_TEACHER), tmp_path_factory.mktemp('teacher')))
    return work_dir / 'iter_6.pth'


def student(
    teacher: Path, work_dir: Path, iterations: int = 6, amp: bool = False, **options: Any
) -> Config:
    cfg = small(toy_config(), work_dir, iterations)
    cfg.model.teacher.checkpoint = str(teacher)
    cfg.merge_from_dict(options)
    if amp:
        enable_amp(cfg)
    return cfg


@pytest.mark.parametrize('name', OPTIONS)
def test_a_student_trains(name: str, tmp_path: Path, toy_teacher: Path) -> None:
    assert (train(student(toy_teacher, tmp_path, **OPTIONS[name])) / 'iter_6.pth').is_file()


def test_the_tools(tmp_path: Path, toy_teacher: Path) -> None:
    work_dir = train(student(toy_teacher, tmp_path / 'kd'))
    options = [
        '--cfg-options',
        f'model.teacher.checkpoint={toy_teacher}',
        f'model.teacher.config={TOY_TEACHER}',
    ]
    kd = f'{TOY}.kd.py'
    images = 'dataset.num_images=6'
    test = [kd, work_dir / 'iter_6.pth', '--out', tmp_path / 'png', '--work-dir', tmp_path / 'test']
    assert run('test.py', *test, *options, f'test_dataloader.{images}') == 0
    assert run('misc/check_teacher.py', kd, *options, f'val_dataloader.{images}') == 0


@pytest.mark.parametrize('amp', [False, True], ids=['float32', 'bfloat16'])
@pytest.mark.parametrize('graph', [False, True], ids=['eager', 'cuda_graph'])
def test_a_resumed_run_ends_at_the_same_weights(
    graph: bool, amp: bool, tmp_path: Path, toy_teacher: Path
) -> None:
    options = {
        'cuda_graph': graph,
        'amp': amp,
        'model.backbone.drop_path_rate': 0.1,
        'default_hooks.checkpoint.interval': 10,
        'default_hooks.gradient_report.interval': 7,
        'randomness': dict(seed=0, deterministic=True),
        # The shipped one follows the length, which the run that stops in between has not.
        'param_scheduler': [dict(type='PolyLR', eta_min=0.0, by_epoch=False, begin=0, end=20)],
    }
    weights = []
    for name, stops in (('whole', (20,)), ('parts', (10, 20))):
        for stop in stops:
            cfg = student(toy_teacher, tmp_path / name, 20, **options)
            cfg.train_cfg.max_iters = stop
            work_dir = train(cfg, 'auto' if stop > stops[0] else None)
        weights.append(read_checkpoint(work_dir / 'iter_20.pth')['state_dict'])
    for name, value in weights[0].items():
        assert torch.equal(weights[1][name], value), name


@pytest.mark.skipif(not is_nccl_available(), reason='torch has no NCCL on Windows')
def test_one_process_over_nccl(tmp_path: Path, toy_teacher: Path) -> None:
    command = [
        *(sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node', '1'),
        *('tools/train.py', f'{TOY}.kd.py', '--launcher', 'pytorch'),
        *('--work-dir', tmp_path / 'ddp', '--cfg-options'),
        f'model.teacher.checkpoint={toy_teacher}',
        f'model.teacher.config={TOY_TEACHER}',
        'train_cfg.max_iters=6',
        'model.decode_head.norm_cfg.type=SyncBN',
        'model.kd_losses.sp_loss.type=FitNetLoss',
        'model.kd_losses.sp_loss.student_channels=256',
        'model.kd_losses.sp_loss.teacher_channels=256',
        'train_cfg.val_interval=6',
    ]
    environment = os.environ | {'PYTHONPATH': os.pathsep.join([str(ROOT), *sys.path])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
