"""Find the mistakes in a config before anything is built."""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from mmengine.config import Config
from mmseg.models.decode_heads.decode_head import BaseDecodeHead

from mmseg_kd.config.defaults import crop_of, cropping_steps
from mmseg_kd.config.keys import check_top_level, unknown_keys
from mmseg_kd.config.values import wrong_values
from mmseg_kd.errors import UserError
from mmseg_kd.nested import dicts, value_at
from mmseg_kd.registry import registered_types

# The key of each mistake, and what is wrong with it.
Problems = Iterator[tuple[str, str]]


def check_config(cfg: Config, source: str) -> None:
    """Raise UserError for the first mistake in a config, with what to write instead.

    Args:
        cfg: The merged config.
        source: Its file, for the message.

    Raises:
        UserError: An unknown or misspelt key, a key of mmsegmentation 0.x, a value of the wrong
            kind, or a type that is not registered but close to one that is.
    """
    check_top_level(cfg, source)
    if cfg.get('model') is None:
        raise UserError(f'{source}: model is missing; look at a config in local_configs/')
    for check in (wrong_values, _endless_epochs, _heads, _crops, _sliding, _compile, unknown_keys):
        for where, problem in check(cfg):
            raise UserError(f'{source}: {where}: {problem}')


def _compile(cfg: Config) -> Problems:
    """Find settings of torch.compile that record a CUDA graph per block, which share memory."""
    for key in ('compile.mode', 'compile.backend'):
        if (name := value_at(cfg, key)) in ('reduce-overhead', 'max-autotune', 'cudagraphs'):
            yield key, f'{name!r} lets blocks overwrite earlier results; write compile=True'


def _crops(cfg: Config) -> Problems:
    size = value_at(cfg, 'model.data_preprocessor.size')
    for where, step in cropping_steps(cfg):
        crop = crop_of(step)
        if size and crop and any(c > s for c, s in zip(crop, size, strict=False)):
            excess = f'{crop} exceeds model.data_preprocessor.size={tuple(size)}'
            yield f'{where}.crop_size', f'{excess}; leave that size out, it follows the crop'


def _endless_epochs(cfg: Config) -> Problems:
    """Find a loop over epochs with a sampler whose epoch does not end."""
    loop, kind = cfg.get('train_cfg') or {}, value_at(cfg, 'train_dataloader.sampler.type')
    by_epoch = loop.get('type') == 'EpochBasedTrainLoop' or loop.get('by_epoch')
    if by_epoch and 'InfiniteSampler' in str(kind):
        endless = f'with train_dataloader.sampler.type={kind!r} the first epoch never ends'
        yield 'train_cfg', f"{endless}; write train_dataloader.sampler.type='DefaultSampler'"


def _heads(cfg: Config) -> Problems:
    """Find losses of heads that cannot be computed, and heads with different class counts."""
    counts, types, plain = [], registered_types(), BaseDecodeHead.loss_by_feat
    for where, head in dicts(cfg.model, 'model'):
        if re.fullmatch(r'model.(decode|auxiliary)_head(.\d+)?', where):
            count, kind = head.get('num_classes'), types.get(head.get('type'))
            # A head with a loss of its own may have other classes, such as boundary and other.
            own = getattr(kind, 'loss_by_feat', plain) is not plain
            foreign = own and not kind.__module__.startswith('mmseg.')
            counts += [count] * (not foreign and head.get('type') != 'STDCHead')
            for _, loss in dicts(head.get('loss_decode')):
                yield from _loss(f'{where}.loss_decode', loss, head.get('out_channels') or count)
    if len(set(counts) - {None}) > 1:
        yield 'model.auxiliary_head', f'the heads have {counts} classes; write one num_classes'


def _loss(where: str, loss: dict, num_classes: int | None) -> Problems:
    if loss.get('type') == 'FocalLoss' and find_spec('mmcv._ext') is None:
        needed = "mmseg's FocalLoss needs mmcv's compiled operators, which are not installed"
        yield f'{where}.type', f"{needed}; write type='CrossEntropyLoss'"
    if num_classes == 1 and loss.get('type') in ('DiceLoss', 'TverskyLoss'):
        yield f'{where}.type', 'with out_channels=1 it learns the other class; write out_channels=2'
    name = loss.get('loss_name')
    if isinstance(name, str) and 'loss' not in name:
        yield f'{where}.loss_name', f"{name!r} is not minimised; write 'loss_{name}'"
    weights = loss.get('class_weight')
    if isinstance(weights, list | tuple) and num_classes and len(weights) != num_classes:
        yield f'{where}.class_weight', f'{len(weights)} weights for {num_classes} classes'


def _sliding(cfg: Config) -> Problems:
    """Find sliding windows without a size, or with gaps between them."""
    test_cfg = cfg.model.get('test_cfg') or {}
    stride, crop = test_cfg.get('stride'), test_cfg.get('crop_size')
    slides = test_cfg.get('mode') == 'slide'
    if slides and not (_is_size(stride) and _is_size(crop)):
        sizes = 'stride=(H, W) and crop_size=(H, W), in pixels from 1 up'
        yield 'model.test_cfg', f"mode='slide' needs {sizes}"
    elif slides and any(step > side for step, side in zip(stride, crop, strict=True)):
        yield 'model.test_cfg.stride', f'{stride} exceeds crop_size={crop} and leaves gaps'


def _is_size(value: Any) -> bool:
    pair = isinstance(value, list | tuple) and len(value) == 2
    return pair and all(type(side) is int and side > 0 for side in value)
