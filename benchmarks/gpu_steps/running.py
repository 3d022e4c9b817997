"""Whole trainings through the runner and the tools."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.optim import AmpOptimWrapper

from gpu_steps.step import LOSSES, TOY, TOY_TEACHER, Record, config, scratch, toy_config
from mmseg_kd.checkpoints import read_checkpoint
from mmseg_kd.config import choose_start, enable_amp
from mmseg_kd.engine import build_runner


def small(cfg: Config, work_dir: str, iterations: int = 6) -> Config:
    """Few iterations, few validation images, no workers."""
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
    """Train; returns the runner."""
    choose_start(cfg, resume)
    runner = build_runner(cfg)
    runner.train()
    return runner


def variants(device: str, record: Record) -> None:
    """Train, resume, test and check a teacher at a size of minutes, with every option by itself."""
    with scratch() as folder:
        teacher_dir = f'{folder}/teacher'
        tries: dict[str, Callable[[], object]] = {
            'teacher': lambda: train(small(config(TOY_TEACHER), teacher_dir))
        }
        checkpoint = f'{teacher_dir}/iter_6.pth'

        def student(name: str, **model: Any) -> Config:
            cfg = small(toy_config(), f'{folder}/{name}')
            cfg.model.teacher.checkpoint = checkpoint
            for key, value in model.items():
                if key == 'teacher_dtype':
                    cfg.model.teacher.dtype = value
                else:
                    cfg.model[key] = value
            return cfg

        def amp(cfg: Config) -> Config:
            enable_amp(cfg)
            return cfg

        def with_keys(cfg: Config, **keys: Any) -> Config:
            cfg.merge_from_dict(keys)
            return cfg

        tries |= {
            'kd': lambda: train(student('kd')),
            'resume to 9': lambda: train(
                with_keys(student('kd'), **{'train_cfg.max_iters': 9}), 'auto'
            ),
            'test.py --out': lambda: _tool(
                'tools/test.py',
                f'{TOY}.kd.py',
                f'{folder}/kd/iter_9.pth',
                '--out',
                f'{folder}/png',
                '--work-dir',
                f'{folder}/test',
                '--cfg-options',
                f'model.teacher.checkpoint={checkpoint}',
                f'model.teacher.config={TOY_TEACHER}',
                'test_dataloader.dataset.num_images=6',
            ),
            'check_teacher.py': lambda: _tool(
                'tools/misc/check_teacher.py',
                f'{TOY}.kd.py',
                '--cfg-options',
                f'model.teacher.checkpoint={checkpoint}',
                f'model.teacher.config={TOY_TEACHER}',
                'val_dataloader.dataset.num_images=6',
            ),
            'kd --amp': lambda: train(amp(student('amp'))),
            'teacher bfloat16': lambda: train(student('tbf16', teacher_dtype='bfloat16')),
            '--amp, teacher bfloat16': lambda: train(
                amp(student('both', teacher_dtype='bfloat16'))
            ),
            'float16': lambda: train(
                with_keys(
                    student('fp16'),
                    **{
                        'optim_wrapper.type': 'AmpOptimWrapper',
                        'optim_wrapper.loss_scale': 'dynamic',
                    },
                )
            ),
            'EMATeacher': lambda: train(student('ema', teacher=dict(type='EMATeacher'))),
            'GradientShare': lambda: train(
                student(
                    'share',
                    kd_losses=dict(
                        at_loss=dict(
                            type='AttentionTransferLoss',
                            loss_weight=dict(type='GradientShare', share=0.1),
                        )
                    ),
                )
            ),
            'clip_grad': lambda: train(
                with_keys(student('clip'), **{'optim_wrapper.clip_grad': dict(max_norm=1.0)})
            ),
            'accumulation': lambda: train(
                with_keys(student('accumulate'), **{'optim_wrapper.accumulative_counts': 2})
            ),
            'workers': lambda: train(
                with_keys(student('workers'), **{'train_dataloader.num_workers': 2})
            ),
            **{
                f'loss {name}': lambda name=name, loss=loss: train(
                    student(f'loss_{name}', kd_losses=dict(x_loss=loss))
                )
                for name, loss in LOSSES.items()
            },
        }
        if device == 'cuda':
            tries |= {
                'cuda_graph': lambda: train(with_keys(student('graph'), cuda_graph=True)),
                'cuda_graph --amp': lambda: train(
                    with_keys(amp(student('graph_amp')), cuda_graph=True)
                ),
                'cuda_graph, clip_grad': lambda: train(
                    with_keys(
                        student('graph_clip'),
                        **{'cuda_graph': True, 'optim_wrapper.clip_grad': dict(max_norm=1.0)},
                    )
                ),
            }
        else:
            tries = dict(list(tries.items())[:3])
        for name, run in tries.items():
            try:
                run()
                record(run=name, state='good')
            except BaseException:
                record(run=name, state='failed', error=traceback.format_exc()[-1800:])


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
    gpu = device == 'cuda'
    cases: dict[str, dict[str, Any]] = {'float32': {}}
    if gpu:
        cases |= {
            'bf16': dict(amp=True),
            'cuda_graph': dict(cuda_graph=True),
            'cuda_graph bf16': dict(amp=True, cuda_graph=True),
        }
    with scratch() as folder:
        train(small(config(TOY_TEACHER), f'{folder}/teacher'))
        for name, options in cases.items():
            try:
                weights = []
                for run, stops in (('whole', (20,)), ('parts', (10, 20))):
                    for stop in stops:
                        cfg = small(toy_config(), f'{folder}/{name}_{run}', 20)
                        cfg.model.teacher.checkpoint = f'{folder}/teacher/iter_6.pth'
                        cfg.model.backbone.drop_path_rate = 0.1
                        cfg.train_cfg.max_iters = stop
                        cfg.default_hooks.checkpoint.interval = 10
                        cfg.default_hooks.gradient_report.interval = 7
                        cfg.randomness = dict(seed=0, deterministic=True)
                        if options.get('amp'):
                            enable_amp(cfg)
                        cfg.cuda_graph = options.get('cuda_graph', False)
                        train(cfg, 'auto' if stop > stops[0] else None)
                    state = read_checkpoint(f'{cfg.work_dir}/iter_20.pth')['state_dict']
                    weights.append(torch.cat([v.float().flatten() for v in state.values()]))
                difference = float((weights[0] - weights[1]).abs().max())
                record(run=name, largest_difference=difference, equal=difference == 0)
            except BaseException:
                record(run=name, error=traceback.format_exc()[-1500:])


def half_precision(device: str, record: Record) -> None:
    """Train 300 iterations of the toy in 16 bits: losses, score, loss scale."""
    with scratch() as folder:
        train(small(config(TOY_TEACHER), f'{folder}/teacher'))
        for name in ('float32', 'bf16', 'float16', 'cuda_graph bf16'):
            try:
                cfg = small(toy_config(), f'{folder}/{name}', 300)
                cfg.model.teacher.checkpoint = f'{folder}/teacher/iter_6.pth'
                if name == 'float16':
                    cfg.optim_wrapper.type = 'AmpOptimWrapper'
                    cfg.optim_wrapper.loss_scale = 'dynamic'
                elif 'bf16' in name:
                    enable_amp(cfg)
                cfg.cuda_graph = 'graph' in name
                runner = train(cfg)
                wrapper = runner.optim_wrapper
                log = runner.message_hub.get_scalar('train/loss').data[0]
                record(
                    run=name,
                    loss_first=float(log[:20].mean()),
                    loss_last=float(log[-20:].mean()),
                    mIoU=float(runner.message_hub.get_scalar('val/mIoU').current()),
                    loss_scale=wrapper.loss_scaler.get_scale()
                    if isinstance(wrapper, AmpOptimWrapper)
                    else None,
                )
            except BaseException:
                record(run=name, error=traceback.format_exc()[-1500:])


def one_process_nccl(device: str, record: Record) -> None:
    """Train one process under torchrun, over NCCL, with an adapter and SyncBN."""
    with scratch() as folder:
        train(small(config(TOY_TEACHER), f'{folder}/teacher'))
        command = [
            sys.executable,
            '-m',
            'torch.distributed.run',
            '--nproc_per_node',
            '1',
            'tools/train.py',
            f'{TOY}.kd.py',
            '--launcher',
            'pytorch',
            '--work-dir',
            f'{folder}/ddp',
            '--cfg-options',
            f'model.teacher.checkpoint={folder}/teacher/iter_6.pth',
            f'model.teacher.config={TOY_TEACHER}',
            f'model.teacher.config={TOY_TEACHER}',
            'train_cfg.max_iters=6',
            'model.decode_head.norm_cfg.type=SyncBN',
            'model.kd_losses.sp_loss.type=FitNet',
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
