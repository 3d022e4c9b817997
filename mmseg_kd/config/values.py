"""Find the values of a config that have the wrong kind."""

import math
import re
import reprlib
from collections.abc import Callable, Iterator
from typing import Any

from mmengine.config import Config

from mmseg_kd.nested import nodes, value_at

SPLITS = ('train', 'val', 'test')
LOADER = '(train|val|test)_dataloader'


def _number(value: Any, least: float = 0, most: float = math.inf) -> bool:
    return type(value) in (int, float) and least <= value <= most


def _whole(value: Any, least: int = 0) -> bool:
    return type(value) is int and value >= least


# Kinds of values, as messages name them, and their tests.
KINDS: dict[str, Callable[[Any], Any]] = {
    'a dict': lambda value: isinstance(value, dict),
    'a list': lambda value: isinstance(value, list | tuple),
    'a list without 0': lambda value: isinstance(value, list | tuple) and all(value),
    'a dict or a list of dicts': lambda value: value and isinstance(value, dict | list | tuple),
    'a string of one character or more': lambda value: value and isinstance(value, str),
    'True or False': lambda value: isinstance(value, bool),
    'True, False or dict(mode=...)': lambda value: isinstance(value, bool | dict),
    'a number from 0 up': _number,
    'a number above 0': lambda value: _number(value) and 0 < value < math.inf,
    # Some of these keys also take a list.
    'a number from 0 to 1': lambda value: isinstance(value, list | tuple) or _number(value, 0, 1),
    # mmseg writes -1 for no dropout.
    'a number from -1 to 1': lambda value: _number(value, -1, 1),
    'a whole number from 0 up': _whole,
    'a whole number from 1 up': lambda value: _whole(value, least=1),
    'a whole number from 1 up, or -1': lambda value: value == -1 or _whole(value, least=1),
}
# The kind of a key's value. The dotted keys are regular expressions.
RULES = {
    'model([.](data_preprocessor|backbone|test_cfg|kd_losses([.][^.]+)?))?': 'a dict',
    'optim_wrapper([.](optimizer|paramwise_cfg|clip_grad))?|default_hooks([.][^.]+)?': 'a dict',
    f'{LOADER}([.]dataset([.](.*[.])?pipeline[.][0-9]+)?)?': 'a dict',
    '(model[.]decode_head|(train|val|test)_evaluator|param_scheduler)[.][0-9]+': 'a dict',
    '(train|val|test|env)_cfg|randomness|log_processor|visualizer': 'a dict',
    f'{LOADER}[.]dataset[.](.*[.])?pipeline|custom_hooks': 'a list',
    'model[.](data_preprocessor[.]size|teacher[.]classes)': 'a list',
    'model[.]data_preprocessor[.]std': 'a list without 0',
    'model[.]decode_head|(train|val|test)_evaluator|param_scheduler': 'a dict or a list of dicts',
    'model[.](pretrained|teacher[.]checkpoint)': 'a string of one character or more',
    'default_scope|work_dir|load_from': 'a string of one character or more',
    'model[.]decode_head[.]num_classes|train_cfg[.]val_interval': 'a whole number from 1 up',
    f'{LOADER}[.]batch_size|optim_wrapper[.]accumulative_counts': 'a whole number from 1 up',
    'default_hooks[.](logger|gradient_report)[.]interval': 'a whole number from 1 up',
    'default_hooks[.].+[.]max_consecutive|log_processor[.]window_size': 'a whole number from 1 up',
    f'{LOADER}[.]num_workers|train_cfg[.](max_iters|val_begin)': 'a whole number from 0 up',
    'default_hooks[.]checkpoint[.]save_begin|randomness[.]seed': 'a whole number from 0 up',
    'default_hooks[.]checkpoint[.](interval|max_keep_ckpts)': 'a whole number from 1 up, or -1',
    'optim_wrapper[.](optimizer[.]lr|clip_grad[.](max_norm|clip_value))': 'a number from 0 up',
    '.*[.](drop_path_rate|drop_rate|attn_drop_rate)': 'a number from 0 to 1',
    '.*[.]dropout_ratio': 'a number from -1 to 1',
    'param_scheduler[.](.*[.])?(eta_min|power|gamma|(start_|end_)?factor)': 'a number from 0 up',
    'train_cfg[.](time_budget|seconds_per_iter)': 'a number above 0',
    'model[.]test_cfg[.]mode': 'one of whole, slide',
    'env_cfg[.]mp_cfg[.]mp_start_method': 'one of fork, spawn, forkserver',
    'log_level': 'one of DEBUG, INFO, WARNING, ERROR, CRITICAL',
    'sync_bn': 'one of torch, mmcv',
    'float32_matmul_precision': 'one of highest, high, medium',
    'resume|cuda_graph|reset_classifier': 'True or False',
    'compile': 'True, False or dict(mode=...)',
}


def wrong_values(cfg: Config) -> Iterator[tuple[str, str]]:
    """Yield the keys whose value has the wrong kind, with the reason.

    A key that is None counts as missing.
    """
    for where, value in nodes(cfg):
        if value is None and where not in ('model.backbone', 'model.decode_head'):
            continue
        for words in [words for keys, words in RULES.items() if re.fullmatch(keys, where)]:
            one_of = words.removeprefix('one of ').split(', ').__contains__
            if not KINDS.get(words, one_of)(value):
                yield where, f'{reprlib.repr(value)} is not {words}'
    # Missing keys that would fail late, or with an error that does not name them.
    optimizer, key = value_at(cfg, 'optim_wrapper.optimizer'), 'optim_wrapper.paramwise_cfg'
    if 'decay_mult' in str(value_at(cfg, key)) and optimizer and 'weight_decay' not in optimizer:
        yield 'optim_wrapper.optimizer', f'weight_decay is missing, which {key} multiplies'
    for key in (f'{split}_dataloader' for split in SPLITS):
        if cfg.get(key) and cfg[key].get('dataset') is None:
            yield key, 'dataset is missing: write dataset=dict(type=..., ...)'
