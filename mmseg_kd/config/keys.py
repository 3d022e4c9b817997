"""Find the keys of a config that nothing reads, and misspelt types."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.runner import IterBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from mmseg_kd.config.options import VARIABLES, line_of
from mmseg_kd.config.values import SPLITS
from mmseg_kd.errors import UserError, did_you_mean
from mmseg_kd.models.kd_encoder_decoder import teachers_by_name
from mmseg_kd.nested import dicts, nodes, value_at
from mmseg_kd.registry import registered_types

LOOP = "train_cfg=dict(type='IterBasedTrainLoop', max_iters=40000, val_interval=4000)"
# Keys of mmsegmentation 0.x, and what to write in 1.x instead.
RENAMED = {
    'data': 'train_dataloader=dict(batch_size=4, dataset=dict(...)), and val_, test_dataloader',
    'lr_config': "param_scheduler=[dict(type='PolyLR', power=1.0, end=40000, by_epoch=False)]",
    'runner': LOOP,
    'total_iters': LOOP,
    'evaluation': "train_cfg.val_interval=4000 and val_evaluator=dict(type='SegmentationMetric')",
    'optimizer': "optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=3e-5))",
    'optimizer_config': "optim_wrapper=dict(type='OptimWrapper', clip_grad=dict(max_norm=1.0))",
    'checkpoint_config': 'default_hooks.checkpoint, as in local_configs/_base_/default_runtime.py',
    'log_config': "default_hooks=dict(logger=dict(type='LoggerHook', interval=50))",
    'resume_from': "load_from='PATH' with resume=True, or --resume PATH",
    'cudnn_benchmark': 'env_cfg=dict(cudnn_benchmark=True)',
    'dist_params': "env_cfg=dict(dist_cfg=dict(backend='nccl'))",
    'fp16': '--amp on the command line',
    'workflow': 'nothing: train_cfg and val_cfg replace it',
    'seed': 'randomness=dict(seed=0, deterministic=False)',
    'gpu_ids': 'nothing: CUDA_VISIBLE_DEVICES chooses the GPU',
}


def _arguments(cls: type) -> set[str]:
    return set(inspect.signature(cls.__init__).parameters) - {'self'}


# Keys that mmengine's Runner or the tools read; the others are usual variables in configs of mmseg.
READ = {'find_unused_parameters', 'model_wrapper_cfg', 'sync_bn', 'compile', 'cuda_graph'}
READ |= {'float32_matmul_precision', 'activation_checkpointing', 'efficient_conv_bn_eval'}
READ |= {'reset_classifier', 'tta_model', 'tta_pipeline'} | (_arguments(Runner) - {'cfg'})
TOP_LEVEL = READ | {'val_pipeline', 'img_scale', 'img_ratios', 'metainfo'}
TOP_LEVEL |= VARIABLES.keys() - {'optimizer'}
# mmengine reads `paramwise_cfg` from a dict; its documentation lists the keys.
PARAMWISE = {'custom_keys', 'bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult'}
PARAMWISE |= {'flat_decay_mult', 'dwconv_decay_mult', 'dcn_offset_lr_mult', 'bypass_duplicate'}
CLIP = {'type', 'max_norm', 'norm_type', 'error_if_nonfinite', 'foreach', 'clip_value'}
LOADER = _arguments(DataLoader) | {'num_batch_per_epoch', 'disable_subprocess_warning'}
# The keys of dicts that have no type.
UNTYPED = {
    'train_cfg': _arguments(IterBasedTrainLoop) | {'by_epoch', 'max_epochs'},
    'optim_wrapper': _arguments(OptimWrapper),
    'optim_wrapper.paramwise_cfg': PARAMWISE,
    'model.test_cfg': {'mode', 'stride', 'crop_size', 'logits', 'rescale'},
    'optim_wrapper.clip_grad': CLIP,
    'env_cfg': {'cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'},
    'randomness': {'seed', 'deterministic', 'diff_rank_seed'},
    **dict.fromkeys([f'{split}_dataloader' for split in SPLITS], LOADER),
}
# The keys of these dicts go to several functions, so no constructor lists them all.
LAYERS = {'norm_cfg', 'act_cfg', 'conv_cfg'}
PASSED_ON = LAYERS | {'init_cfg', 'override'}
# Arguments that the runner, mmengine's registries or the student fill in.
FILLED_IN = {'type', '_scope_', '_delete_', 'constructor', 'paramwise_cfg', 'runner', 'dataloader'}
FILLED_IN |= {'dataset', 'optimizer', 'module', 'name', 'average', 'segmentor'}


def check_top_level(cfg: Config, source: str) -> None:
    """Raise UserError for the first key of a config itself that nothing reads.

    Args:
        cfg: The merged config.
        source: Its file, for the message.
    """
    for key in cfg:
        known = key in TOP_LEVEL or key.startswith('_')
        if not (known or _is_variable(cfg, key, source)):
            advice = f"nothing reads it. If it is your own variable, rename it to '_{key}'"
            problem = f'unknown key {key!r}: {did_you_mean(key, TOP_LEVEL, advice)}'
            if key in RENAMED:
                problem = f'{key!r} is a key of mmsegmentation 0.x; in 1.x write {RENAMED[key]}'
            elif key == 'study':
                problem = 'a study is run by `python tools/study.py run` with this file'
            raise UserError(f'{source}{line_of(source, key)}: {problem}')


def _is_variable(cfg: Config, key: str, source: str) -> bool:
    """Return whether a key is a variable: its value is elsewhere, or it is in a base config.

    mmsegmentation's configs have such variables, for example `checkpoint_file`.
    """
    value = cfg[key]
    # Small numbers are often equal by chance.
    rare = value >= 1000 if type(value) is int else value and not isinstance(value, bool | float)
    if rare and any(other == value and where != key for where, other in nodes(cfg)):
        return True
    if key == 'optimizer' and _wraps_optimizer(cfg, source):
        return True
    if key != 'optimizer' and (key in RENAMED or did_you_mean(key, TOP_LEVEL)):
        return False
    # The text is that of the file and its bases, without overrides.
    return bool(re.search(rf'^{re.escape(key)}\s*=', cfg.text, re.M)) and not line_of(source, key)


def _wraps_optimizer(cfg: Config, source: str) -> bool:
    """Return whether `optimizer`, also a variable of 1.x configs, reaches `optim_wrapper`.

    It may be merged with the variable of a base, and so have more keys.
    """
    text = Path(source).read_text(encoding='utf-8-sig')
    if not re.search(r'^\s*optimizer\s*[=:]', text, re.M):
        # mmengine imports the variables of a base written in pure Python.
        return 'read_base' in text
    value, used = cfg.optimizer, value_at(cfg, 'optim_wrapper.optimizer')
    handed_on = re.search(r'optimizer\W*[=:]\s*optimizer\b', text) and isinstance(value, dict)
    return bool(used and ('_base_' not in text or (handed_on and value | used == value)))


def unknown_keys(cfg: Config) -> Iterator[tuple[str, str]]:
    """Yield the keys below the top level that nothing reads, with what to write instead."""
    teacher = cfg.model.get('teacher')
    if teacher and not isinstance(teacher, dict):
        yield 'model.teacher', 'write teacher=dict(config=..., checkpoint=...)'
    teachers, classes = teachers_by_name(teacher or {}).values(), registered_types()
    for where, node in dicts(cfg):
        *above, last = where.split('.')
        if PASSED_ON & set(above) or where.split('.')[0] not in READ:
            continue
        kind = node.get('type', 'Teacher' if any(node is one for one in teachers) else None)
        kind = kind if isinstance(kind, str) else ''
        # A type of any other dotted name is imported when it is built.
        is_name = re.fullmatch(r'((mmseg_kd|mmseg|mmengine)[.])?\w+', kind)
        if last in PASSED_ON:
            # mmcv's own message does not name the type.
            if last in LAYERS and is_name and kind not in classes:
                yield f'{where}.type', f'{kind!r} is not registered'
        elif kind in classes:
            yield from _unknown(where, node, *_parameters(classes[kind]))
            missing = [key for key in ('config', 'checkpoint') if node.get(key) is None]
            if kind == 'Teacher' and missing:
                advice = f'write {last}=dict(config=..., checkpoint=...)'
                yield where, f'{missing[0]} is missing: {advice}'
        elif is_name and where == 'optim_wrapper.optimizer':
            advice = did_you_mean(kind, classes, "write one of torch.optim, as 'AdamW'")
            yield f'{where}.type', f'there is no optimizer {kind!r}: {advice}'
        elif is_name and (hint := did_you_mean(kind, classes)):
            yield where, f'type {node["type"]!r} is not registered: {hint}'
        elif where.startswith('optim_wrapper.paramwise_cfg.custom_keys.'):
            yield from _unknown(where, node, {'lr_mult', 'decay_mult'}, strict=True)
        elif where in UNTYPED:
            # Other constructors read other keys, such as `num_layers`.
            constructor = str(value_at(cfg, 'optim_wrapper.constructor'))
            if last == 'paramwise_cfg' and not re.search('None|(Default|Grouped)Opt', constructor):
                continue
            yield from _unknown(where, node, UNTYPED[where], where != 'model.test_cfg')


def _parameters(cls: Any) -> tuple[set[str], bool]:
    """Return the arguments of a class or function, and whether it takes no others."""
    found: set[str] = set()
    bases = inspect.getmro(cls) if inspect.isclass(cls) else ()
    functions = [base.__dict__.get('__init__') for base in bases] or [cls]
    # This project's classes pass **kwargs to their base only, so that its arguments complete the
    # list. Other classes may pass them to any function.
    own = True
    for function in filter(inspect.isfunction, functions):
        parameters = inspect.signature(function).parameters.values()
        names = [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
        found |= set(names)
        if len(names) == len(parameters):
            return found, own
        own = own and function.__module__.startswith('mmseg_kd.')
    return found, False


def _unknown(where: str, node: dict, known: set[str], strict: bool) -> Iterator[tuple[str, str]]:
    """Yield the unknown keys of a dict; if not strict, only those close to a known key."""
    options = known - FILLED_IN - {'self'}
    # mmengine takes it out of the dict of a hook.
    others = FILLED_IN | {'priority'} if '_hooks' in where else FILLED_IN
    for key in [key for key in node if key not in options | others]:
        name = node.get('type', where)
        advice = f'{name} has no such key; it has {", ".join(sorted(options))}' if strict else ''
        if where == 'model.teacher' and isinstance(node[key], dict):
            several = 'teacher=dict(_delete_=True, NAME=dict(...))'
            advice = f'several teachers are a dict of teachers by name: {several}'
        if problem := did_you_mean(key, options | FILLED_IN, advice):
            yield f'{where}.{key}', problem
