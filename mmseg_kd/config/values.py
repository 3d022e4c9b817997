"""Find values of another kind than what reads them takes."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config

SPLITS = ('train', 'val', 'test')

# None stands for all of these, as if they were not there.
KINDS: dict[str, tuple[type, ...]] = {
    'model': (dict,),
    'model.data_preprocessor': (dict,),
    'model.data_preprocessor.size': (list,),
    'model.pretrained': (str,),
    'model.backbone': (dict,),
    'model.decode_head': (dict, list),
    'model.test_cfg': (dict,),
    'model.kd_losses': (dict,),
    'model.teacher.config': (str, dict),
    'model.teacher.checkpoint': (str,),
    'model.teacher.classes': (list,),
    **{f'{split}_cfg': (dict,) for split in SPLITS},
    **{f'{split}_evaluator': (dict, list) for split in SPLITS},
    **{f'{split}_dataloader': (dict,) for split in SPLITS},
    **{f'{split}_dataloader.dataset': (dict,) for split in SPLITS},
    **{f'{split}_dataloader.dataset.pipeline': (list,) for split in SPLITS},
    'optim_wrapper': (dict,),
    'optim_wrapper.optimizer': (dict,),
    'optim_wrapper.paramwise_cfg': (dict,),
    'param_scheduler': (dict, list),
    'default_hooks': (dict,),
    'custom_hooks': (list,),
    'env_cfg': (dict,),
    'randomness': (dict,),
    'log_processor': (dict,),
    'optim_wrapper.clip_grad': (dict,),
    'visualizer': (dict,),
    'default_scope': (str,),
    'work_dir': (str,),
    'load_from': (str,),
    'resume': (bool,),
    'cuda_graph': (bool,),
    'float32_matmul_precision': (str,),
}
# The least of each.
WHOLE_NUMBERS = {
    'train_cfg.max_iters': 0,
    'train_cfg.val_begin': 0,
    'train_cfg.val_interval': 1,
    'optim_wrapper.accumulative_counts': 1,
    'default_hooks.logger.interval': 1,
    'default_hooks.checkpoint.save_begin': 0,
    'log_processor.window_size': 1,
    'model.decode_head.num_classes': 1,
    'randomness.seed': 0,
    **{f'{split}_dataloader.batch_size': 1 for split in SPLITS},
    **{f'{split}_dataloader.num_workers': 0 for split in SPLITS},
}
# From 1 up, or -1 for what is said here.
POSITIVE_OR_OFF = {
    'default_hooks.checkpoint.interval': 'the last checkpoint alone',
    'default_hooks.checkpoint.max_keep_ckpts': 'all checkpoints',
}
NUMBERS = {
    'optim_wrapper.optimizer.lr': 0,
    'optim_wrapper.clip_grad.max_norm': 0,
    'optim_wrapper.clip_grad.clip_value': 0,
}
CHOICES: dict[str, tuple] = {
    'log_level': ('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL'),
    'sync_bn': ('torch', 'mmcv'),
    'env_cfg.mp_cfg.mp_start_method': ('fork', 'spawn', 'forkserver'),
    'default_hooks.checkpoint.rule': ('greater', 'less'),
}
HEADS = ('decode_head', 'auxiliary_head')
PARAMWISE = 'optim_wrapper.paramwise_cfg'
# Of any part of the model and any step of a pipeline.
PROBABILITIES = frozenset(
    ['drop_path_rate', 'drop_rate', 'attn_drop_rate', 'dropout_ratio', 'flip_prob', 'cat_max_ratio']
)
NAMES = {dict: 'a dict', list: 'a list', str: 'a string', bool: 'True or False'}


def wrong_values(cfg: Config) -> Iterator[tuple[str, str]]:
    """Tell where in a config a value is of the wrong kind, and what it should be.

    Only the first is sure to be found: what lies below a wrong value is not looked at.
    """
    for key, kinds in KINDS.items():
        value = _at(cfg, key)
        if value is not None and not isinstance(value, (*kinds, *[tuple] * (list in kinds))):
            yield key, f'{reprlib.repr(value)} is not {" or ".join(NAMES[kind] for kind in kinds)}'
    for where in ('default_hooks', 'model.kd_losses'):
        for name, value in (_at(cfg, where) or {}).items():
            if not isinstance(value, dict | None):
                yield f'{where}.{name}', f'{reprlib.repr(value)} is not a dict or None'
    model = _at(cfg, 'model') or {}
    for key in ('backbone', 'decode_head'):
        if key in model and not model[key]:
            yield f'model.{key}', f'{model[key]!r} is not a dict with a type'
    counts = [head.get('num_classes') for key in HEADS for head in _heads(model.get(key))]
    if len(set(counts) - {None}) > 1:
        yield 'model.auxiliary_head', f'the heads have {counts} classes; write one num_classes'
    for value in _at(cfg, 'model.data_preprocessor.std') or ():
        if value == 0:
            yield 'model.data_preprocessor.std', 'has a 0, by which images are divided'
    optimizer, decays = _at(cfg, 'optim_wrapper.optimizer') or {}, _at(cfg, PARAMWISE) or {}
    if 'decay_mult' in str(decays) and optimizer and optimizer.get('weight_decay') is None:
        yield 'optim_wrapper.optimizer', f'weight_decay is missing, which {PARAMWISE} multiplies'
    for key in (f'{split}_evaluator' for split in SPLITS):
        if isinstance(cfg.get(key), list | tuple) and not cfg[key]:
            yield key, "is empty: write dict(type='SegmentationMetric')"
    for split in SPLITS:
        where = f'{split}_dataloader'
        if cfg.get(where) and _at(cfg, f'{where}.dataset') is None:
            yield where, 'dataset is missing: write dataset=dict(type=..., ...)'
        for i, step in enumerate(_at(cfg, f'{where}.dataset.pipeline') or ()):
            if not isinstance(step, dict):
                yield f'{where}.dataset.pipeline.{i}', f'{reprlib.repr(step)} is not a dict'
    for key, choices in CHOICES.items():
        value = _at(cfg, key)
        if value is not None and value not in choices:
            yield key, f'{value!r} is not one of {", ".join(choices)}'
    for key, smallest in (WHOLE_NUMBERS | NUMBERS).items():
        value = _at(cfg, key)
        kinds, whole = (int | float, '') if key in NUMBERS else (int, 'whole ')
        known = isinstance(value, kinds) and not isinstance(value, bool)
        if value is not None and not (known and value >= smallest):
            yield key, f'{reprlib.repr(value)} is not a {whole}number from {smallest} up'
    for key, off in POSITIVE_OR_OFF.items():
        value = _at(cfg, key)
        if value is not None and not (_is_whole(value) and (value >= 1 or value == -1)):
            yield key, f'{reprlib.repr(value)} is not a whole number from 1 up, or -1 for {off}'
    steps = _at(cfg, 'train_cfg.dynamic_intervals')
    if steps is not None and not (isinstance(steps, list | tuple) and all(map(_is_step, steps))):
        yield 'train_cfg.dynamic_intervals', f'{reprlib.repr(steps)} is not [(iteration, interval)]'


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_step(value: Any) -> bool:
    pair = isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_whole, value))
    return pair and value[0] >= 0 and value[1] >= 1


def _heads(heads: Any) -> list[dict]:
    heads = heads if isinstance(heads, list | tuple) else [heads]
    return [head for head in heads if isinstance(head, dict)]


def wrong_probabilities(node: dict, where: str) -> Iterator[tuple[str, str]]:
    """Tell which probabilities of a dict are none."""
    for key in PROBABILITIES & set(node):
        value = node[key]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if isinstance(value, str) or (number and not 0 <= value <= 1):
            yield f'{where}.{key}', f'{reprlib.repr(value)} is not a number from 0 to 1'


def _at(cfg: Config, key: str) -> Any:
    node: Any = cfg
    for part in key.split('.'):
        node = node.get(part) if isinstance(node, dict | Config) else None
    return node
