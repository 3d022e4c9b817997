"""From a config file and the command line to a config that can be run.

What imports torch or mmseg's models, which takes seconds, is imported in the functions: the tools
report a missing file and broken syntax before.
"""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmseg_kd import register_all
from mmseg_kd.config.bases import check_bases
from mmseg_kd.config.errors import reading_errors
from mmseg_kd.config.text import check_text, read_config
from mmseg_kd.errors import UserError, no_file
from mmseg_kd.paths import check_folder


def load_config(path: str, cfg_options: dict | None = None) -> Config:
    """Read a config file, apply `--cfg-options` and check every key.

    Args:
        path: The config file.
        cfg_options: Overrides by dotted key.

    Returns:
        The config, with `work_dir` set (`work_dirs/<name of the file>` where it has none) and
        what follows from other keys filled in (`fill_in`).

    Raises:
        UserError: The file is missing, is no valid Python, or has a key that nothing reads.
    """
    file = Path(path)
    if not file.is_file():
        raise UserError(f'the config {path} {no_file(path)}')
    check_bases(file)
    check_text(file)
    # A tool has not registered anything yet, a spawned process only a worker's part.
    register_all()
    from mmseg_kd.config.checks import check_config, check_options, check_variables
    from mmseg_kd.config.defaults import fill_in

    with reading_errors(path):
        cfg = read_config(path)
        # Every checkpoint and log has the config's text; yapf takes 0.3 s to lay it out.
        cfg = Config(cfg.to_dict(), cfg.text, cfg.filename, format_python_code=False)
        check_variables(cfg, path)
        if cfg_options:
            check_options(cfg_options, cfg)
            cfg.merge_from_dict(_replacing(cfg, cfg_options))
    scope = cfg.get('default_scope', 'mmseg_kd')
    init_default_scope(scope if isinstance(scope, str) else 'mmseg_kd')
    check_config(cfg, path)
    fill_in(cfg)
    if cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / file.stem)
    return cfg


def _replacing(cfg: Config, options: dict) -> dict:
    """Options by dotted key, where some put a dict in the place of a number."""
    options = dict(options)
    for key in list(options):
        node, parts = cfg._cfg_dict, key.split('.')
        for i, part in enumerate(parts[:-1], start=1):
            node = node.get(part) if isinstance(node, dict) else None
            if node is None or isinstance(node, list | tuple):
                break
            if not isinstance(node, dict):
                options['.'.join([*parts[:i], '_delete_'])] = True
    return options


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
        UserError: The data set has no splits.
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
        check_folder(out, '--out')
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
