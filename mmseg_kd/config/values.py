"""Find values of another kind than what reads them takes."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config

SPLITS = ('train', 'val', 'test')


@dataclass(frozen=True)
class Rule:
    """What a key takes: a test, and the words for it after "is not"."""

    accepts: Callable[[Any], bool]
    words: str


def _kind(words: str, *kinds: type) -> Rule:
    return Rule(lambda value: isinstance(value, kinds), words)


def _number(least: float, whole: bool = False, off: str = '') -> Rule:
    """A number from a bound up; with `off`, also -1, which stands for what `off` says."""

    def accepts(value: Any) -> bool:
        known = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        return known and (value >= least or bool(off and value == -1))

    words = f'a {"whole " if whole else ""}number from {least} up'
    return Rule(accepts, words + (f', or -1 for {off}' if off else ''))


def _one_of(*choices: str) -> Rule:
    return Rule(lambda value: value in choices, f'one of {", ".join(choices)}')


def _is_interval(value: Any) -> bool:
    """Whether a value is a pair of an iteration and the interval from there on."""
    pair = isinstance(value, list | tuple) and len(value) == 2
    begin, interval = value if pair else (None, None)
    return COUNT.accepts(begin) and POSITIVE.accepts(interval)


DICT, LIST = _kind('a dict', dict), _kind('a list', list, tuple)
DICT_OR_LIST = _kind('a dict or a list', dict, list, tuple)
DICT_OR_NONE = _kind('a dict or None', dict)
STRING, SWITCH = _kind('a string', str), _kind('True or False', bool)
COUNT, POSITIVE, NUMBER = _number(0, whole=True), _number(1, whole=True), _number(0)
PROBABILITY = Rule(lambda value: NUMBER.accepts(value) and value <= 1, 'a number from 0 to 1')
INTERVALS = Rule(
    lambda value: isinstance(value, list | tuple) and all(map(_is_interval, value)),
    '[(iteration, interval)]',
)

# None is like a key that is not there. A dict comes before its keys.
RULES: dict[str, Rule] = {
    'model': DICT,
    'model.data_preprocessor': DICT,
    'model.data_preprocessor.size': LIST,
    'model.pretrained': STRING,
    'model.backbone': DICT,
    'model.decode_head': DICT_OR_LIST,
    'model.decode_head.num_classes': POSITIVE,
    'model.test_cfg': DICT,
    'model.test_cfg.mode': _one_of('whole', 'slide'),
    'model.kd_losses': DICT,
    'model.kd_losses.*': DICT_OR_NONE,
    'model.teacher.config': _kind('a string or a dict', str, dict),
    'model.teacher.checkpoint': STRING,
    'model.teacher.classes': LIST,
    **{f'{split}_cfg': DICT for split in SPLITS},
    **{f'{split}_evaluator': DICT_OR_LIST for split in SPLITS},
    **{f'{split}_dataloader': DICT for split in SPLITS},
    **{f'{split}_dataloader.batch_size': POSITIVE for split in SPLITS},
    **{f'{split}_dataloader.num_workers': COUNT for split in SPLITS},
    **{f'{split}_dataloader.dataset': DICT for split in SPLITS},
    **{f'{split}_dataloader.dataset.pipeline': LIST for split in SPLITS},
    **{f'{split}_dataloader.dataset.pipeline.*': DICT for split in SPLITS},
    'train_cfg.max_iters': COUNT,
    'train_cfg.val_begin': COUNT,
    'train_cfg.val_interval': POSITIVE,
    'train_cfg.dynamic_intervals': INTERVALS,
    'optim_wrapper': DICT,
    'optim_wrapper.accumulative_counts': POSITIVE,
    'optim_wrapper.optimizer': DICT,
    'optim_wrapper.optimizer.lr': NUMBER,
    'optim_wrapper.paramwise_cfg': DICT,
    'optim_wrapper.clip_grad': DICT,
    'optim_wrapper.clip_grad.max_norm': NUMBER,
    'optim_wrapper.clip_grad.clip_value': NUMBER,
    'param_scheduler': DICT_OR_LIST,
    'default_hooks': DICT,
    'default_hooks.*': DICT_OR_NONE,
    'default_hooks.logger.interval': POSITIVE,
    'default_hooks.checkpoint.save_begin': COUNT,
    'default_hooks.checkpoint.interval': _number(1, True, off='the last checkpoint alone'),
    'default_hooks.checkpoint.max_keep_ckpts': _number(1, True, off='all checkpoints'),
    'default_hooks.checkpoint.rule': _one_of('greater', 'less'),
    'custom_hooks': LIST,
    'env_cfg': DICT,
    'env_cfg.mp_cfg.mp_start_method': _one_of('fork', 'spawn', 'forkserver'),
    'randomness': DICT,
    'randomness.seed': COUNT,
    'log_processor': DICT,
    'log_processor.window_size': POSITIVE,
    'log_level': _one_of('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL'),
    'sync_bn': _one_of('torch', 'mmcv'),
    'visualizer': DICT,
    'default_scope': STRING,
    'work_dir': STRING,
    'load_from': STRING,
    'resume': SWITCH,
    'compile': _kind('True, False or dict(mode=...)', bool, dict),
    'cuda_graph': SWITCH,
    'float32_matmul_precision': STRING,
}
PARAMWISE = 'optim_wrapper.paramwise_cfg'
# In any part of the model and any step of a pipeline.
PROBABILITIES = frozenset(
    ['drop_path_rate', 'drop_rate', 'attn_drop_rate', 'dropout_ratio', 'flip_prob', 'cat_max_ratio']
)


def wrong_values(cfg: Config) -> Iterator[tuple[str, str]]:
    """Yield the keys whose value is of the wrong kind, with what is wrong.

    Only the first is sure to be found: what lies below a wrong value is not looked at.
    """
    for key, rule in RULES.items():
        for where, value in _values(cfg, key):
            unset = value is None and not key.endswith('pipeline.*')
            if not unset and not rule.accepts(value):
                yield where, f'{reprlib.repr(value)} is not {rule.words}'
    yield from _missing_parts(cfg)


def wrong_probabilities(node: dict, where: str) -> Iterator[tuple[str, str]]:
    """Yield the probabilities of a dict that are not from 0 to 1."""
    for key in PROBABILITIES & set(node):
        value = node[key]
        number = isinstance(value, int | float | str) and not isinstance(value, bool)
        if number and not PROBABILITY.accepts(value):
            yield f'{where}.{key}', f'{reprlib.repr(value)} is not {PROBABILITY.words}'


def _missing_parts(cfg: Config) -> Iterator[tuple[str, str]]:
    """Yield what is empty or missing and would fail late, or in other words than the config's."""
    model = cfg.model
    for key in ('backbone', 'decode_head'):
        if key in model and not model[key]:
            yield f'model.{key}', f'{model[key]!r} is not a dict with a type'
    if 0 in (_value(cfg, 'model.data_preprocessor.std') or ()):
        yield 'model.data_preprocessor.std', 'has a 0, by which images are divided'
    optimizer, decays = _value(cfg, 'optim_wrapper.optimizer') or {}, _value(cfg, PARAMWISE) or {}
    if 'decay_mult' in str(decays) and optimizer and optimizer.get('weight_decay') is None:
        yield 'optim_wrapper.optimizer', f'weight_decay is missing, which {PARAMWISE} multiplies'
    for split in SPLITS:
        key = f'{split}_evaluator'
        if isinstance(cfg.get(key), list | tuple) and not cfg[key]:
            yield key, "is empty: write dict(type='SegmentationMetric')"
        key = f'{split}_dataloader'
        if cfg.get(key) and cfg[key].get('dataset') is None:
            yield key, 'dataset is missing: write dataset=dict(type=..., ...)'


def _value(cfg: Config, key: str) -> Any:
    return next((value for _, value in _values(cfg, key)), None)


def _values(node: Any, key: str, where: str = '') -> Iterator[tuple[str, Any]]:
    """Yield the values at a dotted key, in which `*` stands for every key or index."""
    part, _, rest = key.partition('.')
    if isinstance(node, list | tuple):
        items = enumerate(node) if part == '*' else ()
    elif isinstance(node, dict | Config):
        items = node.items() if part == '*' else [(part, node.get(part))]
    else:
        return
    for name, value in items:
        below = f'{where}.{name}'.lstrip('.')
        if rest:
            yield from _values(value, rest, below)
        else:
            yield below, value
