"""Training and distillation steps of a config and of its stock counterpart."""

import copy
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.optim import build_optim_wrapper
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from measuring.stock import stock_model
from mmseg_kd.config import enable_amp
from mmseg_kd.distillation.teacher import build_segmentor, read_model
from mmseg_kd.engine.graphed_step import GraphedStep


def random_batch(
    batch_size: int, size: tuple[int, int], num_classes: int, seed: int = 0
) -> dict[str, list]:
    """Draw a batch as the data loader gives it: uint8 images (3, H, W) and labels, some void."""
    generator = torch.Generator().manual_seed(seed)
    batch: dict[str, list] = dict(inputs=[], data_samples=[])
    for _ in range(batch_size):
        labels = torch.randint(0, num_classes, (1, *size), generator=generator)
        labels[:, :10] = 255
        sample = SegDataSample(metainfo=dict(img_shape=size, ori_shape=size, pad_shape=size))
        sample.gt_sem_seg = PixelData(data=labels)
        image = torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8)
        batch['inputs'].append(image)
        batch['data_samples'].append(sample)
    return batch


def build_pair(cfg: Config, device: str) -> dict[str, BaseModel]:
    """Build the stock counterpart and the config's model, and their teachers, with random weights.

    Returns:
        The models `stock` and `mmseg_kd`, on the device.
    """
    teacher = read_model(cfg.model.teacher.config) if cfg.model.get('kd_losses') else None
    stock = stock_model(cfg.model, teacher).to(device)
    if teacher is not None:
        stock.teacher.to(device)
    return dict(stock=stock, mmseg_kd=build_own(cfg, device))


def build_own(cfg: Config, device: str) -> BaseModel:
    """Build a config's model, and its teacher if it has one, with random weights, on a device."""
    cfg = copy.deepcopy(cfg)
    cfg.model.pretrained = None
    teacher = cfg.model.get('teacher') or {}
    if not (cfg.model.get('kd_losses') and isinstance(teacher.get('config'), str)):
        return MODELS.build(cfg.model).to(device)
    with tempfile.TemporaryDirectory() as folder:
        teacher.checkpoint = str(Path(folder) / 'teacher.pth')
        weights = build_segmentor(teacher.config).state_dict()
        torch.save(dict(state_dict=weights), teacher.checkpoint)
        student = MODELS.build(cfg.model)
        student.build_teacher().to(device)
    return student.to(device)


def train_step(
    model: BaseModel, cfg: Config, batch: dict[str, Any], amp: bool, kind: str = 'eager'
) -> Callable[[], object]:
    """Make a function that does one training step: preprocessing, forward, backward, optimizer.

    Args:
        model: A model, on its device.
        cfg: Its config, for the optimizer.
        batch: A batch of `random_batch`.
        amp: Whether to compute in mixed precision.
        kind: `eager`, `graph` (recorded), or `stock` (without this project's settings of the
            optimizer).
    """
    cfg = copy.deepcopy(cfg)
    if kind == 'stock':
        cfg.optim_wrapper.pop('constructor', None)
        cfg.optim_wrapper.optimizer.pop('fused', None)
    if amp:
        enable_amp(cfg)
    wrapper = build_optim_wrapper(model.train(), cfg.optim_wrapper)
    step = GraphedStep(model, print) if kind == 'graph' else model.train_step
    return partial(step, batch, wrapper)
