"""What a run is, in the lines a user reads before it starts."""

from __future__ import annotations

import platform

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.runner import Runner

from mmseg_kd.config.defaults import crop_of, cropping_steps
from mmseg_kd.paths import relative


def describe_run(runner: Runner) -> str:
    """Describe a training run: model, teacher, losses, data, schedule, device, where it writes."""
    loader, val_loop = runner.train_dataloader, runner.val_loop
    cpu = f'{platform.machine()} CPU, {torch.get_num_threads()} threads'
    device = torch.cuda.get_device_name() if get_device() == 'cuda' else cpu
    rows = [
        ('config', runner.cfg.filename),
        ('work_dir', relative(runner.work_dir)),
        ('device', f'{device}, torch {torch.__version__}, seed {runner.seed}'),
        ('student', _model_line(runner.bare_model)),
    ]
    for name, teacher in runner.teachers.items():
        lead = f'{name}: ' if len(runner.teachers) > 1 else ''
        rows.append(('teacher', f'{lead}{_model_line(teacher.segmentor)}, {teacher.source}'))
    for name, loss in runner.kd_losses.items():
        rows.append(('kd loss', f'{name}: {type(loss).__name__}({loss.extra_repr()})'))
    if hasattr(runner.bare_model, 'kd_losses') and not runner.kd_losses:
        rows.append(('kd loss', 'none: this run trains the plain student, without distillation'))
    images = len(val_loop.dataloader.dataset) if val_loop else 0
    rows.append(('data', f'{len(loader.dataset)} training images, {images} for validation'))
    if size := padded_size(runner.cfg):
        rows.append(('input', f'crop {size}'))
    world = f' x {runner.world_size} processes' if runner.world_size > 1 else ''
    steps = f'{runner.max_iters} iterations, batch {loader.batch_size}{world}'
    rows.append(('schedule', f'{steps}, evaluation every {runner.val_interval}'))
    return ''.join(f'\n  {title:12}{text}' for title, text in rows)


def padded_size(cfg: Config) -> tuple[int, int] | None:
    """The height and width that the config pads every training input to."""
    size = (cfg.model.get('data_preprocessor') or {}).get('size')
    return tuple(size) if size else None


def differing_crops(cfg: Config) -> list[str]:
    """The crops that the preprocessor pads to another size, in words."""
    size = padded_size(cfg)
    return [
        f'{where}.crop_size={crop_of(step)} is padded to '
        f'model.data_preprocessor.size={size}: leave that size out, it follows the crop'
        for where, step in cropping_steps(cfg)
        if size and (crop_of(step) or size) != size
    ]


def _model_line(model: torch.nn.Module) -> str:
    parameters = sum(p.numel() for p in model.parameters()) / 1e6
    # A cascade decodes in several heads.
    head = model.decode_head
    parts = [model.backbone, *(head if isinstance(head, torch.nn.ModuleList) else [head])]
    return (
        f'{type(model).__name__}, {" + ".join(type(part).__name__ for part in parts)}, '
        f'{parameters:.2f} M parameters, {model.num_classes} classes'
    )
