"""Train whole runs with the runner and the tools."""

from __future__ import annotations

import copy
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from gpu_steps.step import (
    LOSSES,
    TOY,
    TOY_TEACHER,
    Record,
    attempt,
    config,
    scratch,
    toy_config,
)
from mmseg_kd.checkpoints import read_checkpoint
from mmseg_kd.config import choose_start, enable_amp
from mmseg_kd.engine import build_runner

# The shipped configs record the step as a graph.
EAGER = dict(cuda_graph=False)
FLOAT16 = {'optim_wrapper.type': 'AmpOptimWrapper', 'optim_wrapper.loss_scale': 'dynamic'}


def small(cfg: Config, work_dir: str, iterations: int = 6) -> Config:
    """Set few iterations, few validation images and no workers."""
    cfg.train_cfg.max_iters, cfg.train_cfg.val_interval = iterations, iterations
    cfg.default_hooks.logger.interval = 2
    cfg.default_hooks.checkpoint.interval = iterations
    for split in ('train', 'val', 'test'):
        cfg[f'{split}_dataloader'].num_workers = 0
        cfg[f'{split}_dataloader'].persistent_workers = False
        cfg[f'{split}_dataloader'].dataset.num_images = 6
    cfg.work_dir = work_dir
    return cfg


def train(cfg: Config, resume: str | None = None) -> Any:
    """Train and return the runner."""
    choose_start(cfg, resume)
    runner = build_runner(cfg)
    runner.train()
    return runner


# Options of a student by dotted key; `amp` is `--amp`.
VARIANTS: dict[str, dict[str, Any]] = {
    'kd --amp': dict(amp=True),
    'teacher bfloat16': {'model.teacher.dtype': 'bfloat16'},
    '--amp, teacher bfloat16': {'amp': True, 'model.teacher.dtype': 'bfloat16'},
    'float16': FLOAT16,
    'EMATeacher': {'model.teacher': dict(_delete_=True, type='EMATeacher')},
    'GradientShare': {
        'model.kd_losses': dict(
            _delete_=True,
            at_loss=dict(
                type='AttentionTransferLoss', loss_weight=dict(type='GradientShare', share=0.1)
            ),
        )
    },
    'clip_grad': {'optim_wrapper.clip_grad': dict(max_norm=1.0)},
    'accumulation': {'optim_wrapper.accumulative_counts': 2},
    'workers': {'train_dataloader.num_workers': 2},
    **{
        f'loss {name}': {'model.kd_losses': dict(_delete_=True, x_loss=loss)}
        for name, loss in LOSSES.items()
    },
}
GPU_VARIANTS: dict[str, dict[str, Any]] = {
    'cuda_graph': dict(cuda_graph=True),
    'cuda_graph --amp': dict(amp=True, cuda_graph=True),
    'cuda_graph, clip_grad': {'cuda_graph': True, 'optim_wrapper.clip_grad': dict(max_norm=1.0)},
}


def student(
    folder: str, name: str, iterations: int = 6, amp: bool = False, **options: Any
) -> Config:
    """Load the small toy student of the teacher in a folder; options by dotted key."""
    cfg = small(toy_config(), f'{folder}/{name}', iterations)
    cfg.model.teacher.checkpoint = f'{folder}/teacher/iter_6.pth'
    cfg.merge_from_dict(copy.deepcopy(options))
    if amp:
        enable_amp(cfg)
    return cfg


def train_teacher(folder: str) -> Any:
    """Train the small toy teacher of a folder."""
    return train(small(config(TOY_TEACHER), f'{folder}/teacher'))


def variants(device: str, record: Record) -> None:
    """Train, resume, test and check a teacher at a small size, with every option by itself."""
    with scratch() as folder:
        kd = [f'{TOY}.kd.py', f'{folder}/kd/iter_9.pth']
        options = [
            '--cfg-options',
            f'model.teacher.checkpoint={folder}/teacher/iter_6.pth',
            f'model.teacher.config={TOY_TEACHER}',
        ]
        test = [*kd, '--out', f'{folder}/png', '--work-dir', f'{folder}/test', *options]
        images = 'dataset.num_images=6'
        tries: dict[str, Callable[[], object]] = {
            'teacher': lambda: train_teacher(folder),
            'kd': lambda: train(student(folder, 'kd')),
            'resume to 9': lambda: train(
                student(folder, 'kd', **{'train_cfg.max_iters': 9}), 'auto'
            ),
        }
        if device == 'cuda':
            tries |= {
                'test.py --out': lambda: _tool('tools/test.py', *test, f'test_dataloader.{images}'),
                'check_teacher.py': lambda: _tool(
                    'tools/misc/check_teacher.py', kd[0], *options, f'val_dataloader.{images}'
                ),
                **{
                    name: lambda name=name, keys=keys: train(student(folder, name, **keys))
                    for name, keys in (VARIANTS | GPU_VARIANTS).items()
                },
            }
        for name, run in tries.items():
            with attempt(record, run=name, state='failed'):
                run()
                record(run=name, state='good')


def _tool(path: str, *arguments: str) -> None:
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    before, sys.argv = sys.argv, [path, *arguments]
    try:
        module.main()
    finally:
        sys.argv = before


def resume(device: str, record: Record) -> None:
    """Compare 20 iterations with 10 and a resumption to 20, in deterministic mode."""
    cases: dict[str, dict[str, Any]] = {'float32': {}}
    if device == 'cuda':
        cases |= {
            'bf16': dict(amp=True),
            'cuda_graph': dict(cuda_graph=True),
            'cuda_graph bf16': dict(amp=True, cuda_graph=True),
        }
    keys = {
        'model.backbone.drop_path_rate': 0.1,
        'default_hooks.checkpoint.interval': 10,
        'default_hooks.gradient_report.interval': 7,
        'randomness': dict(seed=0, deterministic=True),
        # The shipped one follows the length, which the run that stops in between has not.
        'param_scheduler': [dict(type='PolyLR', eta_min=0.0, by_epoch=False, begin=0, end=20)],
    }
    with scratch() as folder:
        train_teacher(folder)
        for name, options in cases.items():
            with attempt(record, run=name):
                weights = []
                for run, stops in (('whole', (20,)), ('parts', (10, 20))):
                    for stop in stops:
                        cfg = student(folder, f'{name}_{run}', 20, **EAGER | keys | options)
                        cfg.train_cfg.max_iters = stop
                        train(cfg, 'auto' if stop > stops[0] else None)
                    state = read_checkpoint(f'{cfg.work_dir}/iter_20.pth')['state_dict']
                    weights.append(torch.cat([v.float().flatten() for v in state.values()]))
                difference = float((weights[0] - weights[1]).abs().max())
                record(run=name, largest_difference=difference, equal=difference == 0)


def one_process_nccl(device: str, record: Record) -> None:
    """Train one process under torchrun, over NCCL, with an adapter and SyncBN."""
    with scratch() as folder:
        train_teacher(folder)
        command = [
            *(sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node', '1'),
            *('tools/train.py', f'{TOY}.kd.py', '--launcher', 'pytorch'),
            *('--work-dir', f'{folder}/ddp', '--cfg-options'),
            f'model.teacher.checkpoint={folder}/teacher/iter_6.pth',
            f'model.teacher.config={TOY_TEACHER}',
            'train_cfg.max_iters=6',
            'model.decode_head.norm_cfg.type=SyncBN',
            'model.kd_losses.sp_loss.type=FitNetLoss',
            'model.kd_losses.sp_loss.student_channels=256',
            'model.kd_losses.sp_loss.teacher_channels=256',
            'train_cfg.val_interval=6',
        ]
        environment = os.environ | {'PYTHONPATH': os.pathsep.join([str(Path.cwd()), *sys.path])}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100)
        if done.returncode:
            record(run='torchrun', error=(done.stdout + done.stderr)[-2500:])
        else:
            record(run='torchrun', state='good')
