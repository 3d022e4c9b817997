"""Fill in the keys that a config leaves out and that follow from its other keys."""

import re
from collections.abc import Iterator

from mmengine.config import Config

from mmseg_kd.nested import dicts, value_at

# Steps of a pipeline that crop an image.
CROPPING = ('SegAugment', 'RandomCrop')
# Images without a size are padded to a multiple of this, which the usual strides divide.
SIZE_DIVISOR = 32


def fill_in(cfg: Config) -> None:
    """Fill in the keys that a checked config leaves out; the others keep their values.

    A cropping step without `crop_size` takes the config's variable `crop_size`, and a
    `data_preprocessor` without a size pads to the largest crop of the training pipelines. A model
    without `test_cfg` predicts whole images. Only `avg_non_ignore` of a cross-entropy with class
    weights is overwritten.
    """
    if cfg.get('data_preprocessor') and cfg.model.get('data_preprocessor') is None:
        cfg.model.data_preprocessor = cfg.data_preprocessor
    if cfg.model.get('test_cfg') is None and 'decode_head' in cfg.model:
        cfg.model.test_cfg = dict(mode='whole')
    for _, loss in dicts(cfg.model):
        # With class weights and without sigmoid, mmseg's cross-entropy always takes the mean over
        # the pixels that are not ignored, and raises an IndexError if `avg_non_ignore` is True.
        weighted = loss.get('type') == 'CrossEntropyLoss' and loss.get('class_weight')
        if weighted and not (loss.get('use_sigmoid') or loss.get('use_mask')):
            loss.avg_non_ignore = False
    crops = []
    for _, step in cropping_steps(cfg):
        if step.get('crop_size') is None and cfg.get('crop_size') is not None:
            step.crop_size = cfg.crop_size
        crops += filter(None, [crop_of(step)])
    preprocessor = cfg.model.get('data_preprocessor') or {}
    pads = str(preprocessor.get('type')).endswith('DataPreProcessor')
    if pads and not {'size', 'size_divisor'} & set(preprocessor):
        if crops:
            preprocessor.size = tuple(max(sides) for sides in zip(*crops, strict=False))
        else:
            preprocessor.size_divisor = SIZE_DIVISOR


def open_crop(cfg: Config) -> bool:
    """Remove the crops and the padded size that equal `crop_size`, so that `fill_in` sets them.

    Returns:
        Whether every crop of the training pipelines will follow the variable `crop_size`.
    """
    current = cfg.get('crop_size')
    steps = [step for _, step in cropping_steps(cfg)]
    places = [(step, 'crop_size') for step in steps]
    for node, key in [*places, (value_at(cfg, 'model.data_preprocessor') or {}, 'size')]:
        if current is not None and node.get(key) == current:
            del node[key]
    return bool(steps) and not any(step.get('crop_size') for step in steps)


def cropping_steps(cfg: Config) -> Iterator[tuple[str, dict]]:
    """Yield key and dict of each step that crops, also of data sets inside wrappers."""
    key = 'train_dataloader.dataset'
    for where, step in dicts(value_at(cfg, key), key):
        is_step = re.search(r'[.]pipeline[.]\d+$', where)
        if is_step and (step.get('type') in CROPPING or step.get('crop_size')):
            yield where, step


def crop_of(step: dict) -> tuple[int, int] | None:
    """Return height and width of a step's crop; mmseg takes one number for both."""
    crop = step.get('crop_size')
    if isinstance(crop, list | tuple):
        return tuple(crop)
    return (crop, crop) if isinstance(crop, int) else None
