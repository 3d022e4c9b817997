"""Find values of another kind than what reads them takes."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Iterator
from typing import Any

from mmengine.config import Config

from mmseg_kd.config.tree import nodes, value_at

SPLITS = ('train', 'val', 'test')
LOADER = '(train|val|test)_dataloader'
PARAMWISE = 'optim_wrapper.paramwise_cfg'


# The words for what a key takes, and the test.
Kind = tuple[str, Callable[[Any], bool]]


def _is_number(value: Any, most: float = float('inf')) -> bool:
    return type(value) in (int, float) and 0 <= value <= most


def _is_whole(value: Any, least: int = 0) -> bool:
    return type(value) is int and value >= least


def _is_interval(value: Any) -> bool:
    pair = isinstance(value, list | tuple) and len(value) == 2
    return pair and _is_whole(value[0]) and _is_whole(value[1], least=1)


def _of_type(words: str, *types: type) -> Kind:
    return words, lambda value: isinstance(value, types)


def _filled(words: str, *types: type) -> Kind:
    return words, lambda value: isinstance(value, types) and bool(value)


def _one_of(*choices: str) -> Kind:
    return f'one of {", ".join(choices)}', lambda value: value in choices


def _positive_or(meaning: str) -> Kind:
    words = f'a whole number from 1 up, or -1 for {meaning}'
    return words, lambda value: value == -1 or _is_whole(value, least=1)


DICT, LIST = _of_type('a dict', dict), _of_type('a list', list, tuple)
DICTS = _filled('a dict or a list of dicts', dict, list, tuple)
TEXT, SWITCH = _filled('a string of one character or more', str), _of_type('True or False', bool)
NUMBER: Kind = ('a number from 0 up', _is_number)
COUNT: Kind = ('a whole number from 0 up', _is_whole)
POSITIVE: Kind = ('a whole number from 1 up', lambda value: _is_whole(value, least=1))
# Some take a list.
SHARE: Kind = (
    'a number from 0 to 1',
    lambda value: isinstance(value, list | tuple) or _is_number(value, most=1),
)
DIVISORS: Kind = ('a list without 0', lambda value: 0 not in value)
INTERVALS: Kind = (
    '[(iteration, interval)]',
    lambda value: isinstance(value, list | tuple) and all(map(_is_interval, value)),
)

# By dotted key, as a regular expression.
RULES: dict[str, Kind] = {
    'model([.](data_preprocessor|backbone|test_cfg|kd_losses([.][^.]+)?))?': DICT,
    'optim_wrapper([.](optimizer|paramwise_cfg|clip_grad))?|default_hooks([.][^.]+)?': DICT,
    f'{LOADER}([.]dataset([.](.*[.])?pipeline[.][0-9]+)?)?': DICT,
    '(train|val|test|env)_cfg|randomness|log_processor|visualizer': DICT,
    f'{LOADER}[.]dataset[.](.*[.])?pipeline|custom_hooks': LIST,
    'model[.](data_preprocessor[.](size|std)|teacher[.]classes)': LIST,
    'model[.]decode_head|(train|val|test)_evaluator|param_scheduler': DICTS,
    'model[.]data_preprocessor[.]std': DIVISORS,
    'model[.]teacher[.]config': _of_type('a string or a dict', str, dict),
    'model[.](pretrained|teacher[.]checkpoint)|default_scope|work_dir|load_from': TEXT,
    'model[.]decode_head[.]num_classes|optim_wrapper[.]accumulative_counts': POSITIVE,
    f'{LOADER}[.]batch_size|train_cfg[.]val_interval': POSITIVE,
    'default_hooks[.]logger[.]interval|log_processor[.]window_size': POSITIVE,
    f'{LOADER}[.]num_workers|train_cfg[.](max_iters|val_begin)': COUNT,
    'default_hooks[.]checkpoint[.]save_begin|randomness[.]seed': COUNT,
    'default_hooks[.]checkpoint[.]interval': _positive_or('the last checkpoint alone'),
    'default_hooks[.]checkpoint[.]max_keep_ckpts': _positive_or('all checkpoints'),
    'optim_wrapper[.](optimizer[.]lr|clip_grad[.](max_norm|clip_value))': NUMBER,
    'train_cfg[.]dynamic_intervals': INTERVALS,
    '.*[.](drop_path_rate|drop_rate|attn_drop_rate|dropout_ratio|flip_prob|cat_max_ratio)': SHARE,
    'model[.]test_cfg[.]mode': _one_of('whole', 'slide'),
    'default_hooks[.]checkpoint[.]rule': _one_of('greater', 'less'),
    'env_cfg[.]mp_cfg[.]mp_start_method': _one_of('fork', 'spawn', 'forkserver'),
    'log_level': _one_of('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL'),
    'sync_bn': _one_of('torch', 'mmcv'),
    'resume|cuda_graph': SWITCH,
    'compile': _of_type('True, False or dict(mode=...)', bool, dict),
}


def wrong_values(cfg: Config) -> Iterator[tuple[str, str]]:
    """Yield the keys whose value is of the wrong kind, with what is wrong.

    None is like a key that is not there. What lies below a wrong value may be reported too.
    """
    rules = [(re.compile(keys), *kind) for keys, kind in RULES.items()]
    for where, value in nodes(cfg):
        for keys, words, accepts in rules:
            if value is not None and keys.fullmatch(where) and not accepts(value):
                yield where, f'{reprlib.repr(value)} is not {words}'
    yield from _missing_parts(cfg)


def _missing_parts(cfg: Config) -> Iterator[tuple[str, str]]:
    """Yield what is empty or missing and would fail late, or in other words than the config's."""
    for key in ('backbone', 'decode_head'):
        if key in cfg.model and cfg.model[key] is None:
            yield f'model.{key}', 'None is not a dict with a type'
    optimizer = value_at(cfg, 'optim_wrapper.optimizer') or {}
    decays = 'decay_mult' in str(value_at(cfg, PARAMWISE))
    if decays and optimizer and optimizer.get('weight_decay') is None:
        yield 'optim_wrapper.optimizer', f'weight_decay is missing, which {PARAMWISE} multiplies'
    for key in (f'{split}_dataloader' for split in SPLITS):
        if cfg.get(key) and cfg[key].get('dataset') is None:
            yield key, 'dataset is missing: write dataset=dict(type=..., ...)'
