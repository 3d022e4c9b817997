"""Lock the work_dir, check the config and log the run, before the first iteration."""

import copy
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from mmcv.transforms import BaseTransform
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.dist import is_main_process, master_only
from mmengine.runner import Runner
from mmseg.models import EncoderDecoder
from torch import nn
from torch.utils.data import Dataset

from mmseg_kd.checkpoints import remove_file, write_text
from mmseg_kd.config.defaults import crop_of, cropping_steps
from mmseg_kd.config.errors import config_errors
from mmseg_kd.datasets.seeded_sampling import seeded
from mmseg_kd.engine.optim import set_matmul_precision
from mmseg_kd.errors import UserError, one_line
from mmseg_kd.models.failures import SIZES, model_errors, owners
from mmseg_kd.paths import relative

# Seconds to wait for the lock of a process that was just stopped.
PATIENCE = 3


@master_only
def lock_work_dir(work_dir: str) -> FileLock | None:
    """Lock a work_dir for this training in the main process; return None in the others.

    The operating system releases the lock when the process ends. Runners of one process share it.

    Raises:
        UserError: Another process trains there.
    """
    lock = FileLock(Path(work_dir) / '.lock', thread_local=False, is_singleton=True)
    record = Path(work_dir) / '.lock.json'
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout:
        raise UserError(
            f'{work_dir} is in use by {_owner(record)}: wait until it ends, stop it, or choose '
            'another --work-dir'
        ) from None
    except (OSError, NotImplementedError):
        # A network file system, or a folder that cannot be written: then the record below fails.
        print(f'the file system of {work_dir} has no locks: start no second training there')
    owner = dict(pid=os.getpid(), host=platform.node(), started=time.ctime())
    write_text(record, json.dumps(owner))
    return lock


def _owner(record: Path) -> str:
    try:
        owner = json.loads(record.read_text(encoding='utf-8'))
        return f'process {owner["pid"]} on {owner["host"]} since {owner["started"]}'
    # The file may be missing or hold anything.
    except (OSError, ValueError, KeyError, TypeError):
        return 'another process'


def prepare_training(runner: Runner) -> None:
    """Build the teachers and the optimizer early, try the data and the model, describe the run.

    Raises:
        UserError: The teacher or a key of the config cannot be used.
    """
    model = runner.bare_model
    with config_errors(runner.cfg):
        try_run(runner)
        if hasattr(model, 'build_teacher'):
            model.build_teacher()
        runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    for name in runner.cfg.get('activation_checkpointing') or ():
        if name not in dict(model.named_modules()):
            raise UserError(f'activation_checkpointing: the model has no module {name!r}')
    # Left by a run that was killed while it wrote.
    for leftover in Path(runner.work_dir).glob('.*.tmp*') if is_main_process() else ():
        remove_file(leftover)
    set_matmul_precision(runner.cfg.get('float32_matmul_precision'))
    runner.logger.info(describe_run(runner))
    for remark in differing_crops(runner.cfg):
        runner.logger.warning(remark)


def try_run(runner: Runner) -> None:
    """Try one sample of each data set: the student's losses in training, else its prediction.

    Without the trial a pipeline or model that fails raises an error in a worker or a layer, which
    names no config key and, for the validation split, comes after hours. The random streams and the
    weights stay unchanged. Each forward pass is without gradients.

    Raises:
        UserError: A step of a pipeline or a part of the model failed; with its config key.
    """
    for split, loop in runner.loops.items():
        if len(loop.dataloader.dataset):
            sample = try_data(loop.dataloader.dataset, f'{split}_dataloader.dataset')
            # With test-time augmentation a sample is a list of images.
            if isinstance(runner.bare_model, EncoderDecoder) and torch.is_tensor(sample['inputs']):
                (try_training if split == 'train' else try_prediction)(runner.bare_model, sample)


def try_data(dataset: Dataset, where: str) -> dict[str, Any]:
    """Return the first sample of a data set.

    Raises:
        UserError: A step of its pipeline failed, or the last step did not pack the sample.
    """
    try:
        with seeded(0):
            sample = dataset[0]
    except UserError:
        raise
    except Exception as error:
        step, steps = '', []
        for owner in owners(error):
            if isinstance(owner, BaseTransform) and owner in steps:
                step = f'.pipeline.{steps.index(owner)} ({type(owner).__name__})'
            steps = getattr(owner, 'transforms', steps)
        raise UserError(f'{where}{step} fails on the first image: {one_line(error)}') from error
    if not isinstance(sample, dict) or not {'inputs', 'data_samples'} <= set(sample):
        raise UserError(
            f"{where}.pipeline: the last step gives no 'inputs' and 'data_samples' for the model: "
            "end it with dict(type='PackSegInputs')"
        )
    return sample


@torch.no_grad()
def try_training(model: EncoderDecoder, sample: dict[str, Any]) -> None:
    """Compute a segmentor's own losses on a sample whose labels are all set to class 0.

    Raises:
        UserError: A part of the model failed, for example because `in_channels` do not fit.
    """
    labels = sample['data_samples'].get('gt_sem_seg')
    if labels is None:
        raise UserError(
            'train_dataloader.dataset.pipeline: it loads no labels: add '
            "dict(type='LoadAnnotations') after the step that loads the image"
        )
    labels.data.zero_()
    # A copy, whose running statistics may change: some heads return other outputs in training.
    model = copy.deepcopy(model).train()
    with seeded(0), model_errors(model, f'a training crop of {_size(sample)} pixels'):
        batch = pseudo_collate([sample, copy.deepcopy(sample)])
        data = model.data_preprocessor(batch, training=True)
        EncoderDecoder.loss(model, data['inputs'], data['data_samples'])


@torch.no_grad()
def try_prediction(model: EncoderDecoder, sample: dict[str, Any]) -> None:
    """Predict a sample of the validation or test split; the model is in training mode afterwards.

    Raises:
        UserError: A part of the model failed, for example because it needs other sizes.
    """
    # If memory runs out, the model's mode says that it was an evaluation.
    model.eval()
    with seeded(0), model_errors(model, f'an evaluated image of {_size(sample)} pixels', SIZES):
        model.test_step(pseudo_collate([sample]))
    model.train()


def _size(sample: dict[str, Any]) -> str:
    return 'x'.join(map(str, sample['inputs'].shape[1:]))


def describe_run(runner: Runner) -> str:
    """Describe a training run: model, teacher, losses, data, schedule, device, where it writes."""
    loader, val_loop = runner.train_dataloader, runner.val_loop
    cpu = f'{platform.machine()} CPU (threads: {torch.get_num_threads()})'
    device = torch.cuda.get_device_name() if get_device() == 'cuda' else cpu
    rows = [
        ('config', runner.cfg.filename),
        ('work_dir', relative(runner.work_dir)),
        ('device', f'{device}, torch {torch.__version__}, seed {runner.seed}'),
        ('precision', _precision_line(runner.cfg.optim_wrapper)),
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


def padded_size(cfg: Config) -> tuple[int, ...]:
    """Return the height and width to which the config pads training inputs; () if it does not."""
    return tuple((cfg.model.get('data_preprocessor') or {}).get('size') or ())


def differing_crops(cfg: Config) -> list[str]:
    """Return a warning for each crop that the preprocessor pads to another size."""
    size = padded_size(cfg)
    return [
        f'{where}.crop_size={crop_of(step)} is padded to '
        f'model.data_preprocessor.size={size}: leave that size out, it follows the crop'
        for where, step in cropping_steps(cfg)
        if size and (crop_of(step) or size) != size
    ]


def _precision_line(wrapper: Config) -> str:
    products = f'float32_matmul_precision={torch.get_float32_matmul_precision()!r}'
    casts = {'Bf16OptimWrapper': 'bfloat16', 'AmpOptimWrapper': wrapper.get('dtype') or 'float16'}
    cast = casts.get(wrapper.get('type'))
    return f'{cast} autocast; {products}' if cast else products


def _model_line(model: nn.Module) -> str:
    parameters = sum(p.numel() for k, p in model.named_parameters() if 'kd_losses.' not in k) / 1e6
    # A cascade has several heads.
    if not isinstance(model, EncoderDecoder):
        return f'{type(model).__name__}, {parameters:.2f} M parameters'
    head = model.decode_head
    parts = [model.backbone, *(head if isinstance(head, nn.ModuleList) else [head])]
    kinds = ' + '.join(type(part).__name__ for part in parts)
    size = f'{parameters:.2f} M parameters, {model.num_classes} classes'
    return f'{type(model).__name__}, {kinds}, {size}'
