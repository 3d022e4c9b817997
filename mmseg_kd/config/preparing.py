"""Prepare a loaded config for training or testing, by what the command line asks for.

torch and mmseg, which take seconds to import, are imported in the functions.
"""

from __future__ import annotations

import copy
from pathlib import Path

from mmengine.config import Config

from mmseg_kd.config.errors import config_errors
from mmseg_kd.errors import UserError, no_file
from mmseg_kd.paths import check_folder


def enable_amp(cfg: Config) -> None:
    """Turn on mixed precision: bfloat16, or float16 on a GPU that has no bfloat16."""
    import torch

    wrapper = cfg.optim_wrapper
    wrapper.setdefault('type', 'OptimWrapper')
    if wrapper.type in ('AmpOptimWrapper', 'Bf16OptimWrapper'):
        return
    if wrapper.type != 'OptimWrapper':
        raise UserError(
            f"--amp needs optim_wrapper.type='OptimWrapper' in the config, not {wrapper.type!r}"
        )
    if torch.cuda.is_available() and not torch.cuda.is_bf16_supported(including_emulation=False):
        wrapper.type = 'AmpOptimWrapper'
        wrapper.loss_scale = 'dynamic'
    else:
        wrapper.type = 'Bf16OptimWrapper'


def choose_start(cfg: Config, resume: str | None) -> None:
    """Decide where training starts: anew, from `load_from`, or where a run stopped.

    Args:
        cfg: The config; its own `resume=True` counts too. `load_from`, `resume` and, where a
            checkpoint brings every weight, `pretrained` are set.
        resume: What `--resume` was given: None, 'auto' or a checkpoint's path.

    Raises:
        UserError: The checkpoint is missing, a new run would overwrite an older one, or nothing
            can be written into the work_dir.
    """
    from mmseg_kd.checkpoints import find_latest_checkpoint
    from mmseg_kd.checkpoints.initialization import forget_pretrained

    if resume is None and cfg.get('resume'):
        resume = cfg.get('load_from') or 'auto'
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper'):
        if cfg.get(key) is None:
            raise UserError(f'{cfg.filename}: {key} is missing, so there is nothing to train')
    check_folder(cfg.work_dir, 'work_dir')
    cfg.resume = False
    latest = find_latest_checkpoint(cfg.work_dir)
    if resume == 'auto':
        if latest is None:
            print(f'nothing to resume in {cfg.work_dir}: starting anew')
        else:
            cfg.load_from, cfg.resume = str(latest), True
    elif resume is not None:
        cfg.load_from, cfg.resume = resume, True
    elif latest is not None:
        raise UserError(
            f'{cfg.work_dir} already holds a run ({latest.name}): continue it with --resume, '
            'choose another --work-dir, or remove the folder'
        )
    if cfg.get('load_from') is not None:
        if not cfg.load_from:
            raise UserError('load_from is empty: name a checkpoint, or write None')
        if not Path(cfg.load_from).is_file():
            raise UserError(f'the checkpoint {cfg.load_from} {no_file(cfg.load_from)}')
        forget_pretrained(cfg.model)


def choose_split(cfg: Config, split: str) -> None:
    """Let `test_dataloader` read another split, seen through the test pipeline.

    The split keeps its own settings, such as its number of images.

    Raises:
        UserError: The data set does not have splits.
    """
    dataset = (cfg.get(f'{split}_dataloader') or cfg.test_dataloader).dataset.copy()
    if 'split' not in dataset:
        raise UserError(f'--split: the {split} data set of {cfg.filename} has no split')
    dataset.update(split=split, pipeline=cfg.test_dataloader.dataset.pipeline)
    cfg.test_dataloader.dataset = dataset


def prepare_test(
    cfg: Config,
    checkpoint: str,
    split: str | None = None,
    out: str | None = None,
    tta: bool = False,
) -> None:
    """Turn a training config into one that tests a checkpoint.

    Args:
        cfg: The config, changed in place.
        checkpoint: The checkpoint to test.
        split: Split of the data set, where it is not the config's own for testing.
        out: Folder for the predictions as PNG files of class ids.
        tta: Whether to average over the config's `tta_pipeline`.

    Raises:
        UserError: The checkpoint is missing, the config lacks what is asked for, or nothing can be
            written where the results go.
    """
    from mmseg_kd.checkpoints.initialization import forget_pretrained

    if not Path(checkpoint).is_file():
        raise UserError(f'the checkpoint {checkpoint} {no_file(checkpoint)}')
    for key in ('test_dataloader', 'test_cfg', 'test_evaluator'):
        if cfg.get(key) is None:
            raise UserError(f'{cfg.filename} has no {key}, so it cannot be tested')
    check_folder(cfg.work_dir, 'work_dir')
    cfg.load_from, cfg.resume = checkpoint, False
    forget_pretrained(cfg.model)
    if split is not None:
        choose_split(cfg, split)
    if out is not None:
        _check_outputs(cfg, out, '--out')
        if not isinstance(cfg.test_evaluator, dict):
            raise UserError('--out needs test_evaluator to be one dict, not a list')
        cfg.test_evaluator.output_dir = out
    if tta:
        if 'tta_pipeline' not in cfg or 'tta_model' not in cfg:
            raise UserError(f'--tta needs tta_model and tta_pipeline in {cfg.filename}')
        cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
        cfg.model = dict(**cfg.tta_model, module=cfg.model)
    # Nothing of the training is needed, nor are its data.
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler'):
        cfg.pop(key, None)
    for key in ('val_dataloader', 'val_cfg', 'val_evaluator'):
        cfg.pop(key, None)


def show_predictions(
    cfg: Config, window: bool, folder: str | None = None, wait_time: float = 2
) -> None:
    """Let a test paint its predictions.

    Args:
        cfg: The config of a test, changed in place.
        window: Whether to show them in a window.
        folder: Where to save them; None saves nothing.
        wait_time: Seconds between the pictures of the window.

    Raises:
        UserError: The config has no hook that paints, or the folder cannot be used.
    """
    if not cfg.get('default_hooks', {}).get('visualization'):
        raise UserError(
            "--show and --show-dir need default_hooks.visualization=dict(type='PaintingHook')"
        )
    cfg.default_hooks.visualization.update(draw=True, show=window, wait_time=wait_time)
    if folder is not None:
        _check_outputs(cfg, folder, '--show-dir')
        cfg.visualizer.save_dir = folder


def _check_outputs(cfg: Config, folder: str, option: str) -> None:
    """Check a folder for predictions, which must not hold the files of the test data."""
    from mmseg.registry import DATASETS

    check_folder(folder, option)
    with config_errors():
        dataset = DATASETS.build(copy.deepcopy(cfg.test_dataloader.dataset))
        infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    files = [info.get(key) for info in infos for key in ('img_path', 'seg_map_path')]
    folders = {Path(file).parent.resolve() for file in files if file is not None}
    if Path(folder).resolve() in folders:
        raise UserError(f'{option}: {folder} holds files of the data set; name another folder')
