"""Find the keys of a config that nothing would read, and types that are misspelt."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterable, Iterator
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from mmengine import registry as mmengine_registry
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import Registry
from mmengine.runner import IterBasedTrainLoop, Runner
from mmseg import registry as mmseg_registry
from torch.utils.data import DataLoader

from mmseg_kd.compat import paramwise_keys
from mmseg_kd.config.options import line_of
from mmseg_kd.config.values import SPLITS, wrong_probabilities
from mmseg_kd.distillation.ema_teacher import EMATeacher
from mmseg_kd.distillation.teacher import Teacher
from mmseg_kd.errors import UserError
from mmseg_kd.models.kd_encoder_decoder import teachers_by_name

# Keys of mmsegmentation 0.x and what 1.x has instead.
RENAMED = {
    'data': 'train_dataloader=dict(batch_size=4, num_workers=4, dataset=dict(...)), and '
    'val_dataloader and test_dataloader alike',
    'lr_config': "param_scheduler=[dict(type='LinearLR', start_factor=1e-6, by_epoch=False, "
    "begin=0, end=1500), dict(type='PolyLR', power=1.0, begin=1500, end=40000, by_epoch=False)]",
    'runner': "train_cfg=dict(type='IterBasedTrainLoop', max_iters=40000, val_interval=4000)",
    'total_iters': "train_cfg=dict(type='IterBasedTrainLoop', max_iters=40000, val_interval=4000)",
    'evaluation': "train_cfg.val_interval=4000 and val_evaluator=dict(type='SegmentationMetric')",
    'optimizer': "optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=3e-5))",
    'optimizer_config': "optim_wrapper=dict(type='OptimWrapper', clip_grad=dict(max_norm=1.0))",
    'checkpoint_config': "default_hooks=dict(checkpoint=dict(type='ResumableCheckpointHook', "
    'by_epoch=False, interval=4000))',
    'log_config': "default_hooks=dict(logger=dict(type='LoggerHook', interval=50))",
    'resume_from': "load_from='PATH' with resume=True, or --resume PATH",
    'cudnn_benchmark': 'env_cfg=dict(cudnn_benchmark=True)',
    'dist_params': "env_cfg=dict(dist_cfg=dict(backend='nccl'))",
    'fp16': '--amp on the command line',
    'workflow': 'nothing: train_cfg and val_cfg replace it',
}

# Read by mmengine's Runner beyond its arguments, by the tools, or by custom with mmseg.
OTHER_KEYS = frozenset(
    [
        'custom_imports',
        'find_unused_parameters',
        'model_wrapper_cfg',
        'sync_bn',
        'compile',
        'cuda_graph',
        'float32_matmul_precision',
        'activation_checkpointing',
        'efficient_conv_bn_eval',
        'tta_model',
        'tta_pipeline',
        'dataset_type',
        'data_root',
        'crop_size',
        'img_scale',
        'img_ratios',
        'metainfo',
        'num_classes',
        'norm_cfg',
        'max_iters',
        'train_pipeline',
        'val_pipeline',
        'test_pipeline',
        'vis_backends',
    ]
)


def _arguments(cls: type) -> set[str]:
    return set(inspect.signature(cls.__init__).parameters) - {'self'}


TOP_LEVEL = (_arguments(Runner) | OTHER_KEYS) - {'cfg'}
# Keys of dicts that are not passed to a constructor as they are.
LOADER = _arguments(DataLoader) | {'num_batch_per_epoch', 'disable_subprocess_warning'}
TRAIN_LOOP = _arguments(IterBasedTrainLoop) | {'by_epoch', 'max_epochs'}
WRAPPER = _arguments(OptimWrapper)
WRAPPER |= {'constructor', 'paramwise_cfg', 'loss_scale', 'dtype', 'use_fsdp'}
TEST = {'mode', 'stride', 'crop_size', 'logits', 'rescale'}

# Dicts of these names are passed on piecemeal, their keys are not a constructor's.
PASSED_ON = frozenset({'norm_cfg', 'act_cfg', 'conv_cfg', 'init_cfg', 'override'})
LAYERS = ('norm_cfg', 'act_cfg', 'conv_cfg')
# Read by the registries, of any dict.
REGISTRY_KEYS = frozenset({'type', '_scope_', '_delete_'})
# Arguments that the runner fills in.
FILLED_IN = frozenset(
    [
        'self',
        'runner',
        'dataloader',
        'dataset',
        'optimizer',
        'module',
        'name',
        'constructor',
        'paramwise_cfg',
    ]
)


def check_top_level(cfg: Config, source: str) -> None:
    """Raise UserError for the first key of a config itself that nothing reads.

    Args:
        cfg: The merged config.
        source: Its file, for the message.
    """
    for key in cfg:
        if not key.startswith('_') and not _used(cfg, key):
            raise UserError(f'{source}{line_of(source, key)}: {_advice(key)}')


def unknown_keys(cfg: Config) -> Iterator[tuple[str, str]]:
    """Yield the keys below the top level that nothing reads, with what to write instead."""
    for split in SPLITS:
        yield from _unknown(f'{split}_dataloader', cfg.get(f'{split}_dataloader'), LOADER)
    yield from _unknown('train_cfg', cfg.get('train_cfg'), TRAIN_LOOP)
    optim_wrapper = cfg.get('optim_wrapper') or {}
    yield from _unknown('optim_wrapper', optim_wrapper, WRAPPER, strict=False)
    paramwise = optim_wrapper.get('paramwise_cfg')
    yield from _unknown('optim_wrapper.paramwise_cfg', paramwise, paramwise_keys())
    yield from _optimizer(optim_wrapper.get('optimizer') or {})
    yield from _unknown('model.test_cfg', cfg.model.get('test_cfg'), TEST, strict=False)
    teacher = cfg.model.get('teacher')
    if teacher and not isinstance(teacher, dict):
        yield 'model.teacher', 'write teacher=dict(config=..., checkpoint=...)'
    elif teacher:
        for name, one in teachers_by_name(teacher).items():
            yield from _teacher('model.teacher' + ('' if one is teacher else f'.{name}'), one)
    yield from _walk(cfg.to_dict(), '')


def _used(cfg: Config, key: str) -> bool:
    if key == 'optimizer':
        # A customary variable of 1.x configs; without effect unless the wrapper holds it.
        return cfg.get('optim_wrapper', {}).get('optimizer') == cfg.optimizer
    return key in TOP_LEVEL


def _advice(key: str) -> str:
    if key == 'study':
        return 'a study is run by `python tools/study.py run` with this file'
    if key in RENAMED:
        return f'{key!r} is a key of mmsegmentation 0.x; in 1.x write {RENAMED[key]}'
    hint = _did_you_mean(key, TOP_LEVEL)
    return f'unknown key {key!r}: ' + (
        hint or 'nothing reads it. Start its name with an underscore if it is a variable of yours'
    )


def _optimizer(optimizer: dict) -> Iterator[tuple[str, str]]:
    kind = optimizer.get('type')
    if isinstance(kind, str) and mmseg_registry.OPTIMIZERS.get(kind) is None:
        hint = _did_you_mean(kind, mmengine_registry.OPTIMIZERS.module_dict)
        yield (
            'optim_wrapper.optimizer.type',
            f'there is no optimizer {kind!r}: ' + (hint or "write one of torch.optim, as 'AdamW'"),
        )


def _teacher(where: str, teacher: dict) -> Iterator[tuple[str, str]]:
    kind = teacher.get('type', 'Teacher')
    if kind == 'EMATeacher':
        yield from _unknown(where, teacher, _constructor_keys(EMATeacher)[0] - {'average'})
    elif kind == 'Teacher':
        known = _constructor_keys(Teacher)[0] - {'segmentor'}
        for key in [key for key in teacher if key not in known and isinstance(teacher[key], dict)]:
            yield (
                f'{where}.{key}',
                'several teachers are a dict of teachers by name and nothing beside them: write '
                'teacher=dict(_delete_=True, NAME=dict(config=..., checkpoint=...), ...), and '
                f'{where}.NAME.baseline and the like',
            )
        teacher = {key: value for key, value in teacher.items() if not isinstance(value, dict)} | {
            key: teacher[key] for key in known & set(teacher)
        }
        yield from _unknown(where, teacher, known)
        for key in sorted({'config', 'checkpoint'} - set(teacher)):
            yield where, f'{key} is missing: write teacher=dict(config=..., checkpoint=...)'


def _walk(node: Any, where: str) -> Iterator[tuple[str, str]]:
    """Check every dict that has a `type`, anywhere in the config."""
    if isinstance(node, list | tuple):
        for i, item in enumerate(node):
            yield from _walk(item, f'{where}.{i}')
    elif isinstance(node, dict):
        yield from wrong_probabilities(node, where)
        if isinstance(node.get('type'), str):
            yield from _typed(node, where or 'config')
        for key, value in node.items():
            if key not in PASSED_ON:
                yield from _walk(value, f'{where}.{key}'.lstrip('.'))
            elif key in LAYERS and isinstance(value, dict):
                layer = value.get('type')
                # mmcv's own message lacks the name.
                if isinstance(layer, str) and mmseg_registry.MODELS.get(layer) is None:
                    yield f'{where}.{key}.type', f'{layer!r} is not registered'


def _typed(node: dict, where: str) -> Iterator[tuple[str, str]]:
    # A scope may precede the name, as in mmseg.EncoderDecoder.
    kind = re.sub(r'^(mmseg_kd|mmseg|mmengine)\.', '', node['type'])
    classes = [r.get(kind) for r in _registries() if kind in r.module_dict]
    if not classes:
        names = (name for r in _registries() for name in r.module_dict)
        if hint := _did_you_mean(kind, names):
            yield where, f'type {node["type"]!r} is not registered: {hint}'
        return
    known, closed = set(), True
    for cls in classes:
        parameters, complete = _constructor_keys(cls)
        known |= parameters
        closed &= complete
    yield from _unknown(where, node, known, strict=closed and len(classes) == 1)
    if len(classes) == 1:
        for key, value in node.items():
            if isinstance(value, str) and (wanted := _numbers_wanted(classes[0], key)):
                yield f'{where}.{key}', f'{value!r} is not {wanted}'


def _numbers_wanted(cls: Any, key: str) -> str:
    """'a number' or 'a list of numbers' where an argument's annotation allows no text, else ''."""
    for base in inspect.getmro(cls) if inspect.isclass(cls) else (cls,):
        function = base.__dict__.get('__init__') if inspect.isclass(base) else base
        if inspect.isfunction(function) and key in inspect.signature(function).parameters:
            try:
                hint = get_type_hints(function).get(key)
            except (NameError, TypeError, AttributeError):
                # Annotations that cannot be resolved, as of types imported for a checker alone.
                return ''
            kinds = set(get_args(hint)) or {hint}
            if not kinds & {int, float, bool} or not kinds <= {int, float, bool, NoneType, ...}:
                return ''
            single = get_origin(hint) in (None, Union, UnionType)
            return 'a number' if single else 'a list of numbers'
    return ''


def _constructor_keys(cls: Any) -> tuple[set[str], bool]:
    """Return the keyword arguments of a class or function, and whether these are all."""
    known: set[str] = set()
    for base in inspect.getmro(cls) if inspect.isclass(cls) else (cls,):
        function = base.__dict__.get('__init__') if inspect.isclass(base) else base
        if function is None or not inspect.isfunction(function):
            continue
        parameters = inspect.signature(function).parameters.values()
        known |= {p.name for p in parameters if p.kind is not p.VAR_KEYWORD}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            # Passing **kwargs on to this base leaves no room for anything else, as this
            # project's classes do; others may hand them to something that is not a base.
            own = cls.__module__.startswith('mmseg_kd.')
            return known, own or function is getattr(cls, '__init__', cls)
    return known, False


def _unknown(
    where: str, node: dict | None, known: Iterable[str], strict: bool = True
) -> Iterator[tuple[str, str]]:
    """Yield the keys of a dict that are not known; where not strict, those close to a known one."""
    options = set(known) - FILLED_IN
    accepted = options | FILLED_IN | REGISTRY_KEYS
    for key in [key for key in node or () if key not in accepted]:
        hint = _did_you_mean(key, accepted - {'self', 'runner'})
        if hint or strict:
            name = node.get('type', where)
            yield (
                f'{where}.{key}',
                hint or f'{name} has no such key; it has {", ".join(sorted(options))}',
            )


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.75)
    return f'did you mean {near[0]!r}?' if near else ''


def _registries() -> list[Registry]:
    modules = (mmseg_registry, mmengine_registry)
    found = [r for m in modules for r in vars(m).values() if isinstance(r, Registry)]
    return list({id(r): r for r in found}.values())
