"""What a run is, in the lines a user reads before it starts."""

from __future__ import annotations

import platform

import numpy as np
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.runner import Runner

from mmseg_kd.config.defaults import crop_of, cropping_steps, training_pipelines
from mmseg_kd.engine.optim import fast_on_cpu
from mmseg_kd.paths import relative

# Samples of a range of scales, to average over it.
RATIOS = 100


def describe_run(runner: Runner) -> str:
    """Describe a training run: model, teacher, losses, data, schedule, device, where it writes."""
    model = runner.bare_model
    loader = runner.train_dataloader
    lines = [
        f'config      {runner.cfg.filename}',
        f'work_dir    {relative(runner.work_dir)}',
        f'device      {_device()}, torch {torch.__version__}, seed {runner.seed}',
        f'student     {_model_line(model)}',
    ]
    teachers = getattr(model, 'teachers', {})
    for name, teacher in teachers.items():
        lead = 'teacher     ' + (f'{name}: ' if len(teachers) > 1 else '')
        lines.append(f'{lead}{_model_line(teacher.segmentor)}, {teacher.source}')
    lines += [
        f'kd loss     {name}: {type(loss).__name__}({loss.extra_repr()})'
        for name, loss in getattr(model, 'kd_losses', {}).items()
    ]
    if hasattr(model, 'kd_losses') and not model.kd_losses:
        lines.append('kd loss     none: this run trains the plain student, without distillation')
    lines.append(
        f'data        {len(loader.dataset)} training images, '
        f'{len(runner.val_dataloader.dataset) if runner.val_loop else 0} for validation'
    )
    if size := padded_size(runner.cfg):
        share = padding_share(runner.cfg, size)
        padding = f', about {100 * share:.0f} % of it padding' if share >= 0.005 else ''
        lines.append(f'input       crop {size}{padding}')
    world = f' x {runner.world_size} processes' if runner.world_size > 1 else ''
    lines.append(
        f'schedule    {runner.max_iters} iterations, batch {loader.batch_size}{world}, '
        f'evaluation every {runner.val_interval}'
    )
    return '\n' + '\n'.join(f'  {line}' for line in lines)


def padded_size(cfg: Config) -> tuple[int, int] | None:
    """The height and width that the config pads every training input to."""
    size = (cfg.model.get('data_preprocessor') or {}).get('size')
    return tuple(size) if size else None


def padding_share(cfg: Config, size: tuple[int, int]) -> float:
    """The mean share of padding in a training input, for images as wide and high as the scale."""
    shares = [0.0]
    for _, steps in training_pipelines(cfg):
        crop, scale, ratios = size, None, (1.0, 1.0)
        for step in steps:
            crop = crop_of(step) or crop
            scale, ratios = step.get('scale') or scale, step.get('ratio_range') or ratios
        # Without a scale the size of the images is not known from the config.
        width, height = scale if isinstance(scale, list | tuple) else crop[::-1]
        sides = (
            (min(height * ratio, crop[0]), min(width * ratio, crop[1]))
            for ratio in np.linspace(*ratios, RATIOS)
        )
        filled = sum(a * b for a, b in sides) / RATIOS
        shares.append(1 - filled / (size[0] * size[1]))
    return max(shares)


def differing_crops(cfg: Config) -> list[str]:
    """The crops that the preprocessor pads to another size, in words."""
    size = padded_size(cfg)
    return [
        f'{where}.crop_size={crop_of(step)} is padded to '
        f'model.data_preprocessor.size={size}: leave that size out, it follows the crop'
        for where, step in cropping_steps(cfg)
        if size and (crop_of(step) or size) != size
    ]


def slow_precisions(runner: Runner) -> list[str]:
    """What a run computes in 16 bits on a processor that has no instructions for it, in words."""
    if get_device() != 'cpu':
        return []
    asked = []
    if runner.cfg.optim_wrapper.get('type') == 'Bf16OptimWrapper':
        asked.append(('--amp (optim_wrapper.type)', torch.bfloat16, 'leave it out'))
    for teacher in getattr(runner.bare_model, 'teachers', {}).values():
        asked.append(('model.teacher.dtype', teacher.dtype, 'write None'))
    return [
        f'{key}: this CPU has no instructions for 16 bits and takes many times as long as in '
        f'float32; {advice}'
        for key, dtype, advice in dict.fromkeys(asked)
        if not fast_on_cpu(dtype)
    ]


def _model_line(model: torch.nn.Module) -> str:
    parameters = sum(p.numel() for p in model.parameters()) / 1e6
    # A cascade decodes in several heads.
    head = model.decode_head
    heads = head if isinstance(head, torch.nn.ModuleList) else [head]
    return (
        f'{type(model).__name__}, {type(model.backbone).__name__} + '
        f'{" + ".join(type(head).__name__ for head in heads)}, {parameters:.2f} M parameters, '
        f'{model.num_classes} classes'
    )


def _device() -> str:
    if get_device() == 'cuda':
        return torch.cuda.get_device_name()
    return f'{platform.processor() or platform.machine()} CPU, {torch.get_num_threads()} threads'
