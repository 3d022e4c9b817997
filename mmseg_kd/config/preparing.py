"""Prepare a loaded config for training or testing, as the command line asks.

torch and mmseg, which take seconds to import, are imported in the functions.
"""

import re
from pathlib import Path

from mmengine.config import Config

from mmseg_kd.errors import UserError
from mmseg_kd.nested import value_at
from mmseg_kd.paths import check_file, check_folder, check_new_folder


def enable_amp(cfg: Config) -> None:
    """Turn on mixed precision: bfloat16, or float16 on a GPU that has no bfloat16."""
    from torch import cuda

    kind = cfg.optim_wrapper.get('type', 'OptimWrapper')
    if kind not in ('OptimWrapper', 'AmpOptimWrapper', 'Bf16OptimWrapper'):
        raise UserError(f"--amp needs optim_wrapper.type='OptimWrapper', not {kind!r}")
    if kind == 'OptimWrapper':
        cfg.optim_wrapper.type = 'Bf16OptimWrapper'
        if cuda.is_available() and not cuda.is_bf16_supported(including_emulation=False):
            cfg.optim_wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')


def choose_start(cfg: Config, resume: str | None) -> None:
    """Decide where training starts: from the beginning, from `load_from`, or where it stopped.

    Args:
        cfg: The config, changed in place: `resume` becomes the checkpoint to resume, or False.
            Its own `resume=True` counts too.
        resume: The value of `--resume`: None, 'auto' or a checkpoint's path.

    Raises:
        UserError: The checkpoint is missing, a new run would overwrite an older one, or the
            work_dir cannot be written to.
    """
    from mmseg_kd.checkpoints import find_latest_checkpoint

    if resume is None and cfg.get('resume'):
        resume = cfg.pop('load_from', None) or 'auto'
    _check_sections(cfg, 'trained', 'train_dataloader', 'train_cfg', 'optim_wrapper')
    latest, work_dir = find_latest_checkpoint(cfg.work_dir), Path(cfg.work_dir).resolve()
    stays = resume == 'auto' or (resume and Path(resume).parent.resolve() == work_dir)
    if latest is not None and not stays:
        advice = 'continue it with --resume alone, choose another --work-dir, or remove the folder'
        raise UserError(f'{cfg.work_dir} already holds a run ({latest.name}): {advice}')
    if resume == 'auto' and latest is None:
        print(f'nothing to resume in {cfg.work_dir}: starting anew')
        resume = None
    cfg.resume = (str(latest) if resume == 'auto' else resume) or False
    if start := cfg.resume or cfg.get('load_from'):
        check_file(start, 'the checkpoint')


def choose_split(cfg: Config, split: str) -> None:
    """Make `test_dataloader` read another split with the test pipeline.

    Other settings of the split, for example its number of images, are kept.

    Raises:
        UserError: The data set does not have splits.
    """
    loader = cfg.get(f'{split}_dataloader')
    dataset = (loader or cfg.test_dataloader).dataset.copy()
    if 'split' in dataset:
        dataset.split = split
    elif loader is None or 'pipeline' not in dataset:
        raise UserError(f'--split: the {split} data set of {cfg.filename} has no split')
    dataset.pipeline = cfg.test_dataloader.dataset.pipeline
    cfg.test_dataloader.dataset = dataset


def prepare_test(
    cfg: Config,
    checkpoint: str,
    split: str | None = None,
    out: str | None = None,
    tta: bool = False,
) -> None:
    """Change a training config to one that tests a checkpoint.

    Args:
        cfg: The config, changed in place.
        checkpoint: The checkpoint to test.
        split: Split of the data set; None is the config's split for testing.
        out: Folder for the predictions as PNG files of class ids.
        tta: Whether to average over the config's `tta_pipeline`.

    Raises:
        UserError: The checkpoint is missing, the config lacks a needed key, or the results cannot
            be written.
    """
    check_file(checkpoint, 'the checkpoint')
    _check_sections(cfg, 'tested', 'test_dataloader', 'test_cfg', 'test_evaluator')
    cfg.load_from, cfg.resume = checkpoint, False
    if split is not None:
        choose_split(cfg, split)
    if out is not None:
        check_new_folder(out, '--out')
        if not isinstance(cfg.test_evaluator, dict):
            raise UserError('--out needs test_evaluator to be one dict, not a list')
        cfg.test_evaluator.output_dir = out
    if tta:
        if 'tta_pipeline' not in cfg or 'tta_model' not in cfg:
            raise UserError(f'--tta needs tta_model and tta_pipeline in {cfg.filename}')
        cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
        cfg.model = dict(**cfg.tta_model, module=cfg.model)
    # mmengine's EarlyStoppingHook needs the loop of a training.
    hooks = cfg.get('custom_hooks') or ()
    cfg.custom_hooks = [hook for hook in hooks if 'EarlyStoppingHook' not in str(hook.get('type'))]
    # A test needs neither the settings nor the data of the training.
    for key in list(cfg):
        if re.match('(train|val)_|optim_wrapper|param_scheduler', key):
            cfg.pop(key)


def show_predictions(cfg: Config, window: bool, folder: str | None, wait_time: int) -> None:
    """Make a test draw its predictions.

    Args:
        cfg: The config of a test, changed in place.
        window: Whether to show them in a window.
        folder: Where to save them; None saves nothing.
        wait_time: Seconds between the pictures of the window.

    Raises:
        UserError: The config has no hook or visualizer that draws, or the folder cannot be used.
    """
    needed = {'default_hooks.visualization': 'PaintingHook', 'visualizer': 'QuickSegVisualizer'}
    for key, kind in needed.items():
        if not value_at(cfg, key):
            raise UserError(f'--show and --show-dir need {key}=dict(type={kind!r})')
    cfg.default_hooks.visualization.update(draw=True, show=window, wait_time=wait_time)
    if folder is not None:
        check_new_folder(folder, '--show-dir')
        cfg.visualizer.save_dir = folder


def _check_sections(cfg: Config, verb: str, *keys: str) -> None:
    for key in keys:
        if cfg.get(key) is None:
            raise UserError(f'{cfg.filename}: {key} is missing, so it cannot be {verb}')
    check_folder(cfg.work_dir, 'work_dir')
