"""Turn a config of mmsegmentation 0.x, or of NVlabs/SegFormer, into one that trains here."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmseg_kd.config.errors import reading_errors
from mmseg_kd.config.loading import read_config
from mmseg_kd.config.values import SPLITS, nodes
from mmseg_kd.errors import UserError
from mmseg_kd.paths import check_file

# Keys that have another name here, and those that need nothing in their place.
KEYS = {
    'model': 'model',
    'test_cfg': 'model.test_cfg',
    'work_dir': 'work_dir',
    'log_level': 'log_level',
    'load_from': 'load_from',
    'find_unused_parameters': 'find_unused_parameters',
    'seed': 'randomness.seed',
    'cudnn_benchmark': 'env_cfg.cudnn_benchmark',
    'runner.max_iters': 'train_cfg.max_iters',
    'optimizer.paramwise_cfg': 'optim_wrapper.paramwise_cfg',
    'optimizer': 'optim_wrapper.optimizer',
    'optimizer_config.grad_clip': 'optim_wrapper.clip_grad',
    'checkpoint_config.interval': 'default_hooks.checkpoint.interval',
    'checkpoint_config.max_keep_ckpts': 'default_hooks.checkpoint.max_keep_ckpts',
    'evaluation.interval': 'train_cfg.val_interval',
    'evaluation.save_best': 'default_hooks.checkpoint.save_best',
    'log_config.interval': 'default_hooks.logger.interval',
    **dict.fromkeys(('runner.type', 'checkpoint_config.by_epoch', 'dist_params', 'workflow')),
    **dict.fromkeys(('evaluation.metric', 'evaluation.pre_eval', 'img_norm_cfg', 'log_config')),
}
# Keys of a data set and of a step of a pipeline that have another name.
DATASET_KEYS = {
    'img_dir': 'data_prefix.img_path',
    'ann_dir': 'data_prefix.seg_map_path',
    'classes': 'metainfo.classes',
    'palette': 'metainfo.palette',
    'split': 'ann_file',
}
STEP_KEYS = {'img_scale': 'scale', 'flip_ratio': 'prob'}
# Steps that the data preprocessor or PackSegInputs takes over.
REPLACED = {'Normalize', 'Pad', 'DefaultFormatBundle', 'Collect', 'ImageToTensor'}


def migrate(path: str | Path) -> tuple[Config, list[str]]:
    """Turn a config of 0.x into what this project's `default_runtime.py` lacks.

    The modules that it imports are not needed. Data sets, steps and models that are not registered
    here are kept.

    Returns:
        The settings, and a line for each key without an equal here.

    Raises:
        UserError: The file is missing, is not a whole config of 0.x, or trains by epochs.
    """
    check_file(path, 'the config')
    old = read_config(path, import_custom_modules=False).to_dict()
    if not isinstance(old.get('data'), dict):
        raise UserError(f'{path} is not a whole config of mmsegmentation 0.x: data is missing')
    values = [value for _, value in nodes(copy.deepcopy(old))]
    with reading_errors(path):
        new = _convert(old)
    # The value of a variable occurs again where it is used.
    lines = [f'{k}={value!r}' for k, value in old.items() if value and values.count(value) == 1]
    if not new.train_cfg.get('max_iters') or new.param_scheduler[0].pop('by_epoch', True):
        advice = "runner=dict(type='IterBasedRunner', max_iters=N) and lr_config.by_epoch=False"
        raise UserError(f'{path}: a training by epochs is not migrated; write {advice}')
    return new, lines


def _convert(old: dict[str, Any]) -> Config:
    """Convert a config, and leave in `old` what has no equal here."""
    data, schedule = old.pop('data'), old.pop('lr_config')
    normalize = next(s for s in _inner(data['train'])['pipeline'] if s['type'] == 'Normalize')
    preprocessor = dict(
        type='BatchDataPreProcessor',
        mean=normalize['mean'],
        std=normalize['std'],
        bgr_to_rgb=normalize.get('to_rgb', True),
    )
    _adapt_segformer(old['model'])
    new = Config(
        dict(
            model=dict(data_preprocessor=preprocessor),
            optim_wrapper=dict(type='OptimWrapper', constructor='GroupedOptimWrapperConstructor'),
            param_scheduler=[dict(type='LrUpdater', **schedule)],
            train_cfg=dict(type='PrefetchingTrainLoop'),
        )
    )
    for split in [split for split in SPLITS if data.get(split)]:
        new[f'{split}_dataloader'] = _loader(data, split)
        if split != 'train':
            new[f'{split}_cfg'] = dict(type=f'{split.capitalize()}Loop')
            new[f'{split}_evaluator'] = dict(type='SegmentationMetric')
    moved = {target: _take(old, key) for key, target in KEYS.items()}
    new.merge_from_dict({key: value for key, value in moved.items() if key and value is not None})
    return new


def _take(node: dict[str, Any], key: str) -> Any:
    """Remove the value at a dotted key and return it; None where it is missing."""
    *above, last = key.split('.')
    for name in above:
        node = node.get(name) or {}
    return node.pop(last, None)


def _adapt_segformer(model: dict[str, Any]) -> None:
    """Adapt the model of NVlabs/SegFormer."""
    head, backbone = model['decode_head'], model['backbone']
    if isinstance(head, dict) and head['type'] == 'SegFormerHead':
        head.update(head.pop('decoder_params'))
        for node, key in ((head, 'channels'), (head, 'feature_strides'), (backbone, 'style')):
            node.pop(key, None)


def _inner(dataset: dict[str, Any]) -> dict[str, Any]:
    """Return a data set without the wrappers around it, such as RepeatDataset."""
    return _inner(dataset['dataset']) if 'dataset' in dataset else dataset


def _loader(data: dict[str, Any], split: str) -> dict[str, Any]:
    old, training = _inner(data[split]), split == 'train'
    workers, kind = data.get('workers_per_gpu', 2), old.pop('type')
    sampler = 'SeededInfiniteSampler' if training else 'DefaultSampler'
    pipeline = list(_pipeline(old.pop('pipeline')))
    if not training:
        pipeline.append(dict(type='LoadAnnotations'))
    dataset = Config(dict(type=kind, pipeline=[*pipeline, dict(type='PackSegInputs')]))
    if kind == 'CamVidDataset':
        # The one here has its own classes and folders.
        dataset.update(data_root=old['data_root'], split=split)
    else:
        dataset.type = 'BaseSegDataset' if kind == 'CustomDataset' else kind
        dataset.merge_from_dict({DATASET_KEYS.get(key, key): old[key] for key in old})
    return dict(
        # 0.x evaluates image by image.
        batch_size=data['samples_per_gpu'] if training else 1,
        num_workers=workers,
        persistent_workers=workers > 0,
        sampler=dict(type=sampler, shuffle=training),
        dataset=dataset.to_dict(),
    )


def _pipeline(steps: list[dict[str, Any]], scale: Any = None) -> Iterator[dict[str, Any]]:
    """Yield the steps of 1.x, with the scale that MultiScaleFlipAug has for those inside it."""
    for old in steps:
        step = {STEP_KEYS.get(key, key): value for key, value in old.items()}
        kind = step.pop('type')
        if kind == 'MultiScaleFlipAug':
            yield from _pipeline(step['transforms'], step['scale'])
        elif kind in ('Resize', 'AlignResize'):
            divisor = step.pop('size_divisor', 32)
            size = dict(keep_ratio=True, scale=scale) | step
            yield dict(type='RandomResize' if 'ratio_range' in step else 'Resize', **size)
            if kind == 'AlignResize':
                yield dict(type='ResizeToMultiple', size_divisor=divisor)
        elif kind == 'LoadAnnotations':
            # `reduce_zero_label` is an argument of the data set.
            yield dict(type=kind)
        elif kind not in REPLACED and (kind != 'RandomFlip' or 'prob' in step):
            yield dict(type=kind, **step)
