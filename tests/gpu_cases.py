"""Toy students, batches and one of each distillation loss, for the tests that need a GPU."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper, build_optim_wrapper

from measuring.steps import build_own, random_batch
from mmseg_kd.config import choose_start, enable_amp, load_config

TOY = 'local_configs/toy/segformer.b0.toy'
# The teacher of the toy student is a second B0 here, which is built quickly.
TOY_TEACHER = f'{TOY}.py'
STAGE4 = dict(student_channels=256, teacher_channels=256)
LOSSES: dict[str, dict[str, Any]] = {
    'kl': dict(type='KLDivergenceLoss'),
    'kl_std': dict(type='KLDivergenceLoss', standardize=True),
    'cwd': dict(type='ChannelWiseDivergence'),
    'dist': dict(type='DISTLoss'),
    'at': dict(type='AttentionTransferLoss'),
    'sp': dict(type='SimilarityPreservingLoss'),
    'sp_pixel': dict(type='SimilarityPreservingLoss', mode='pixel'),
    'pairwise': dict(type='PairwiseLoss'),
    'fitnet': dict(type='FitNetLoss', **STAGE4),
    'mgd': dict(type='MaskedGenerativeLoss', **STAGE4),
    'af_dcd': dict(type='AffinityContrastLoss', **STAGE4),
    'dkd': dict(type='DecoupledKDLoss'),
    'boundary': dict(type='BoundarySplitLoss'),
    'group': dict(type='ChannelGroupDivergenceLoss'),
    'haar': dict(type='HaarDetailLoss'),
    'attention': dict(type='AttentionFlowLoss'),
    'flow': dict(type='HodgeFlowLoss', components=['curl'], band_weights=(1.0, 2.0)),
    'flow_features': dict(type='HodgeFlowLoss', stages='stage4', **STAGE4),
    'flow_harmonic': dict(type='HodgeFlowLoss', flows=2, components=['harmonic']),
    'flow_random': dict(type='RandomSplitFlowLoss', components=['curl']),
    'junction': dict(type='JunctionLoss', trace_weight=0.5),
    'direction': dict(type='EdgeDirectionLoss'),
    'sobolev': dict(type='SobolevLoss', mode='phase'),
    'energy': dict(type='SobolevLoss', mode='log_energy', band_weights=(1.0, 2.0)),
    'permuted': dict(type='PermutedSpectrumLoss', exponent=-1.0),
    'other': dict(type='KLDivergenceLoss', control='other_image'),
    'labels': dict(type='KLDivergenceLoss', control='labels'),
}


def config(path: str) -> Config:
    """Load a config without pretrained weights."""
    cfg = load_config(path)
    cfg.model.pretrained = None
    return cfg


def toy_config(**losses: dict[str, Any]) -> Config:
    """Load the toy student with the losses given, or its own."""
    cfg = config(f'{TOY}.kd.py')
    cfg.model.teacher.config = TOY_TEACHER
    cfg.model.kd_losses = losses or cfg.model.kd_losses
    return cfg


def scheduled(end: int) -> dict[str, Any]:
    """A loss whose weight and temperature follow schedules."""
    return dict(
        type='KLDivergenceLoss',
        temperature=dict(type='CosineDecay', value=8.0, end=end, stop=0.5),
        loss_weight=dict(type='LinearWarmup', value=1.0, end=10, start=0.1),
    )


def no_chance(cfg: Config) -> Config:
    """Copy a config without dropout and stochastic depth."""
    cfg = copy.deepcopy(cfg)
    cfg.model.decode_head.dropout_ratio = 0.0
    cfg.model.backbone.drop_path_rate = 0.0
    return cfg


def build(cfg: Config, device: str, amp: bool = False) -> tuple[BaseModel, OptimWrapper]:
    """Build a model with random weights, and its optimizer."""
    torch.manual_seed(0)
    cfg = copy.deepcopy(cfg)
    if amp:
        enable_amp(cfg)
    model = build_own(cfg, device).train()
    return model, build_optim_wrapper(model, cfg.optim_wrapper)


def batch_of(model: BaseModel, size: int, side: int, seed: int = 0) -> dict[str, Any]:
    """Make a batch as the training loop gives it to the model: packed, in page-locked memory."""
    batch = random_batch(size, (side, side), model.num_classes, seed)
    return model.data_preprocessor.prepare(batch)


def small(cfg: Config, work_dir: Path, iterations: int = 6) -> Config:
    """Set few iterations, few images and no workers."""
    cfg.train_cfg.max_iters, cfg.train_cfg.val_interval = iterations, iterations
    cfg.default_hooks.logger.interval = 2
    cfg.default_hooks.checkpoint.interval = iterations
    for split in ('train', 'val', 'test'):
        cfg[f'{split}_dataloader'].num_workers = 0
        cfg[f'{split}_dataloader'].persistent_workers = False
        cfg[f'{split}_dataloader'].dataset.num_images = 6
    cfg.work_dir = str(work_dir)
    return cfg


def train(cfg: Config, resume: str | None = None) -> Path:
    """Train and return the work_dir."""
    from mmseg_kd.engine import build_runner

    choose_start(cfg, resume)
    build_runner(cfg).train()
    return Path(cfg.work_dir)
