"""Turn a config of mmsegmentation 0.x, or of NVlabs/SegFormer, into one that trains here."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmseg.registry import MODELS

from mmseg_kd.config.loading import read_config
from mmseg_kd.config.migrating_data import loaders, preprocessor
from mmseg_kd.errors import UserError, one_line
from mmseg_kd.nested import dicts, nodes, value_at
from mmseg_kd.paths import check_file

# Keys of 0.x and their names here, for settings whose values stay the same.
MOVED = {
    **{key: key for key in ('work_dir', 'log_level', 'load_from', 'find_unused_parameters')},
    'seed': 'randomness.seed',
    'deterministic': 'randomness.deterministic',
    'cudnn_benchmark': 'env_cfg.cudnn_benchmark',
    'total_iters': 'train_cfg.max_iters',
    'runner.max_iters': 'train_cfg.max_iters',
    'checkpoint_config.interval': 'default_hooks.checkpoint.interval',
    'checkpoint_config.max_keep_ckpts': 'default_hooks.checkpoint.max_keep_ckpts',
    'checkpoint_config.save_optimizer': 'default_hooks.checkpoint.save_optimizer',
    'evaluation.interval': 'train_cfg.val_interval',
    'evaluation.start': 'train_cfg.val_begin',
    'evaluation.save_best': 'default_hooks.checkpoint.save_best',
    'evaluation.rule': 'default_hooks.checkpoint.rule',
    'log_config.interval': 'default_hooks.logger.interval',
    'optimizer_config.grad_clip': 'optim_wrapper.clip_grad',
    'optimizer_config.cumulative_iters': 'optim_wrapper.accumulative_counts',
    'optimizer_config.loss_scale': 'optim_wrapper.loss_scale',
    'fp16.loss_scale': 'optim_wrapper.loss_scale',
}
# The other keys of these sections become remarks, except SETTLED: read elsewhere or not needed.
SECTIONS = ('runner', 'checkpoint_config', 'evaluation', 'log_config', 'optimizer_config', 'fp16')
SETTLED = {'type', 'by_epoch', 'meta', 'metric', 'pre_eval', 'gpu_collect', 'efficient_test'}
SETTLED |= {'hooks', 'distributed', 'coalesce', 'bucket_size_mb'}
# Other top-level keys that are read here, or need no replacement.
KNOWN = {'data', 'model', 'optimizer', 'lr_config', 'train_cfg', 'test_cfg'}
KNOWN |= {'resume_from', 'dist_params', 'gpu_ids', 'gpus', 'device', 'mp_start_method', 'workflow'}
PARTS = re.compile(r'(|backbone|neck|decode_head|auxiliary_head|.*\.loss_decode)(\.\d+)?')
POLICIES = ('fixed', 'poly', 'CosineAnnealing', 'step')
LR_KEYS = {'policy', 'power', 'min_lr', 'step', 'gamma', 'warmup', 'warmup_iters', 'warmup_ratio'}


def read_old_config(path: str | Path) -> dict[str, Any]:
    """Read a config of 0.x with everything it inherits, without importing its custom modules.

    Raises:
        UserError: The file is missing, is not valid Python, or is not a complete config of 0.x.
    """
    check_file(path, 'the config')
    # The user's modules need the libraries of 0.x.
    old = read_config(path, import_custom_modules=False).to_dict()
    for _, node in dicts(old):
        node.pop('_delete_', None)
    if 'train_dataloader' in old or 'optim_wrapper' in old:
        raise UserError(f'{path} is a config of mmsegmentation 1.x already')
    for key in ('model', 'data', 'optimizer', 'lr_config'):
        if not isinstance(old.get(key), dict):
            raise UserError(f'{path}: {key} is not a dict; name a whole config of 0.x')
    return old


def migrate(old: dict[str, Any], path: str | Path) -> tuple[dict[str, Any], list[str]]:
    """Convert a config of 0.x to the settings that this project's `default_runtime.py` lacks.

    Args:
        old: The config that `read_old_config` returned; it is changed.
        path: Its file, for messages.

    Returns:
        The settings, and a line for each old setting that has no equivalent.

    Raises:
        UserError: The config trains by epochs, or has a value that 0.x does not take.
    """
    remarks = list(_unread(old))
    try:
        data = old['data']
        new = Config(loaders(data, remarks))
        new['model'] = _model(old, remarks)
        new['model']['data_preprocessor'] = preprocessor(data, remarks)
        new['optim_wrapper'] = _optimizer(old)
        new['param_scheduler'] = _schedule(old, path, remarks)
        new['train_cfg'] = dict(type='PrefetchingTrainLoop')
        _evaluate(old.get('evaluation') or {}, new)
        _move(old, new, remarks)
        if not isinstance(new['train_cfg'].get('max_iters'), int):
            raise UserError(f"{path}: write runner=dict(type='IterBasedRunner', max_iters=N)")
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        kind = type(error).__name__
        raise UserError(f'{path} is not a config of 0.x: {kind}: {one_line(error)}') from error
    return new.to_dict(), remarks


def _unread(old: dict[str, Any]) -> Iterator[str]:
    """Yield the top-level keys that are not migrated, and are not variables of keys that are."""
    read = KNOWN.union(SECTIONS, MOVED)
    used = [node for _, node in nodes({key: old[key] for key in read & old.keys()})]
    dicts = [node.items() for node in used if isinstance(node, dict)]
    for key, value in old.items():
        # As in dict(type='Normalize', **img_norm_cfg).
        spread = isinstance(value, dict) and any(value.items() <= items for items in dicts)
        if value and key not in read and value not in used and not spread:
            yield f'{key}={value!r}'
    if len(old.get('workflow') or []) > 1:
        yield f'workflow={old["workflow"]!r}'


def _model(old: dict[str, Any], remarks: list[str]) -> dict[str, Any]:
    # The first versions of 0.x have `train_cfg` and `test_cfg` at the top level.
    model = {key: old[key] for key in ('train_cfg', 'test_cfg') if key in old} | old['model']
    backbone = model.get('backbone', {})
    if re.fullmatch(r'mit_b\d', backbone.get('type', '')):
        backbone.pop('style', None)
    for where, part in dicts(model):
        kind = part.get('type')
        if kind == 'SegFormerHead':
            part |= part.pop('decoder_params', {})
            for unused in ('channels', 'feature_strides'):
                part.pop(unused, None)
        if kind and PARTS.fullmatch(where) and MODELS.get(kind) is None:
            remarks.append(f'model.{where}: {kind} is not registered here'.replace('.:', ':'))
    return model


def _optimizer(old: dict[str, Any]) -> dict[str, Any]:
    optimizer, hook = old['optimizer'], old.get('optimizer_config') or {}
    mixed = old.get('fp16') or 'Fp16' in hook.get('type', '')
    default, grouped = 'DefaultOptimizerConstructor', 'GroupedOptimWrapperConstructor'
    return dict(
        type='AmpOptimWrapper' if mixed else 'OptimWrapper',
        constructor=optimizer.pop('constructor', default).replace(default, grouped),
        paramwise_cfg=optimizer.pop('paramwise_cfg', None),
        optimizer=optimizer,
    )


def _schedule(old: dict[str, Any], path: str | Path, remarks: list[str]) -> list[dict[str, Any]]:
    schedule = old['lr_config']
    epochs = (old.get('runner') or {}).get('type') == 'EpochBasedRunner'
    if epochs or schedule.pop('by_epoch', True) or schedule.pop('warmup_by_epoch', False):
        advice = "write runner=dict(type='IterBasedRunner', max_iters=N), lr_config.by_epoch=False"
        raise UserError(f'{path}: a training by epochs is not migrated; {advice}')
    if schedule['policy'] not in POLICIES:
        remarks.append(f'lr_config.policy={schedule["policy"]!r}; LrUpdater has {POLICIES}')
    for key in sorted(schedule.keys() - LR_KEYS):
        remarks.append(f'lr_config.{key}={schedule.pop(key)!r}')
    return [dict(type='LrUpdater', by_epoch=False, **schedule)]


def _evaluate(evaluation: dict[str, Any], new: Config) -> None:
    metrics = evaluation.get('metric', 'mIoU')
    evaluator = dict(type='SegmentationMetric')
    if metrics not in ('mIoU', ['mIoU']):
        evaluator = dict(type='IoUMetric', iou_metrics=metrics)
    for split in ('val', 'test'):
        if f'{split}_dataloader' in new:
            new[f'{split}_evaluator'] = evaluator
            new[f'{split}_cfg'] = dict(type=f'{split.capitalize()}Loop')


def _move(old: dict[str, Any], new: Config, remarks: list[str]) -> None:
    """Copy the settings that only change their name, and list the others of each section."""
    for key, target in MOVED.items():
        if (value := value_at(old, key)) is not None:
            new.merge_from_dict({target: value})
    for section in SECTIONS:
        for key, value in (old.get(section) or {}).items():
            if f'{section}.{key}' not in MOVED and key not in SETTLED:
                remarks.append(f'{section}.{key}={value!r}')
    for hook in (old.get('log_config') or {}).get('hooks', ()):
        if hook['type'] != 'TextLoggerHook':
            remarks.append(f'log_config.hooks: {hook["type"]}; write visualizer.vis_backends')
    if old.get('resume_from'):
        new.load_from, new.resume = old['resume_from'], True
