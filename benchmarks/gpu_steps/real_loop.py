"""Time whole iterations of the runner."""

import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from PIL import Image

from mmseg_kd.config import choose_start, enable_amp, load_config
from mmseg_kd.datasets.toy.scenes import draw_scene
from mmseg_kd.engine import build_runner
from mmseg_kd.records.scalars import read_curves

STUDENT = 'local_configs/segformer/B0/segformer.b0.512x512.camvid.kd.py'
TEACHER = 'local_configs/segformer/B2/segformer.b2.512x512.camvid.py'
# Whether the step is recorded as a graph, whether in bfloat16, and the number of workers.
SETTINGS = ((True, True, 4), (True, False, 4), (False, True, 4), (True, True, 8), (False, False, 4))


def real_loop(device: str) -> Iterator[dict[str, Any]]:
    """Train by the runner on images of CamVid's size, with workers, hooks and log lines."""
    gpu = device == 'cuda'
    # Windows cannot remove the log file, which is still open.
    with TemporaryDirectory(prefix='gpu_check_', ignore_cleanup_errors=True) as folder:
        camvid = _images(Path(folder) / 'CamVid', 64 if gpu else 4)
        teacher = f'{folder}/teacher.pth'
        torch.save(dict(state_dict=MODELS.build(load_config(TEACHER).model).state_dict()), teacher)
        for i, (graph, amp, workers) in enumerate(SETTINGS if gpu else [(False, False, 0)]):
            cfg = _config(graph, amp, workers, camvid, teacher)
            cfg.train_cfg.max_iters = 450 if gpu else 6
            if not gpu:
                cfg.train_dataloader.batch_size = 2
                cfg.model.data_preprocessor.size = (64, 64)
                cfg.train_dataloader.dataset.pipeline[2].crop_size = (64, 64)
            cfg.work_dir = f'{folder}/run{i}'
            choose_start(cfg, None)
            start = time.perf_counter()
            build_runner(cfg).train()
            seconds = time.perf_counter() - start
            curves = {key: [*curve.values()] for key, curve in read_curves(cfg.work_dir).items()}
            yield dict(
                run='graph' if graph else 'eager',
                precision='bf16' if amp else 'TF32',
                workers=workers,
                iterations=cfg.train_cfg.max_iters,
                ms=1e3 * _settled(curves['time']),
                data_ms=1e3 * _settled(curves['data_time']),
                seconds_in_all=seconds,
                loss_first=curves['loss'][0],
                loss_last=curves['loss'][-1],
            )


def _config(graph: bool, amp: bool, workers: int, data_root: str, teacher: str) -> Config:
    cfg = load_config(STUDENT, {'model.teacher.checkpoint': teacher, 'model.pretrained': None})
    cfg.train_dataloader.dataset.data_root = data_root
    cfg.train_dataloader.num_workers = workers
    cfg.train_dataloader.persistent_workers = workers > 0
    for key in ('val_dataloader', 'val_cfg', 'val_evaluator'):
        cfg.pop(key)
    for hook in ('prediction_grid', 'teacher_record', 'confusion_record'):
        cfg.default_hooks[hook] = None
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', by_epoch=False, interval=10**6)
    cfg.cuda_graph = graph
    if amp:
        enable_amp(cfg)
    return cfg


def _settled(values: list[float]) -> float:
    return statistics.mean(values[len(values) // 2 :])


def _images(root: Path, count: int) -> str:
    """Write generated scenes in CamVid's size and layout."""
    folders = root / 'train', root / 'trainannot'
    for folder in folders:
        folder.mkdir(parents=True)
    for i in range(count):
        for folder, picture in zip(folders, draw_scene(0, 'train', i, 480, 360), strict=True):
            Image.fromarray(picture).save(folder / f'{i:03}.png')
    return str(root)
