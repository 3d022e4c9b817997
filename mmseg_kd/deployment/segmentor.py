"""Build the model of a checkpoint from the config inside it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from torch import nn

from mmseg_kd.checkpoints import load_strictly, read_checkpoint
from mmseg_kd.config import load_config
from mmseg_kd.config.errors import config_errors
from mmseg_kd.datasets.custom.masks import class_colour
from mmseg_kd.distillation.teacher import build_segmentor, classes_of, without_distillation
from mmseg_kd.errors import UserError, user_errors
from mmseg_kd.nested import value_at, walk
from mmseg_kd.records.literal_config import parse_buildable
from mmseg_kd.registry import only_registered


class TrainedSegmentor(NamedTuple):
    """A model with its weights, in evaluation mode, its classes and its test pipeline.

    Attributes:
        model: The segmentor; a student without its teacher.
        classes: Names of the classes in the order of their ids.
        palette: Their RGB colours, 0 to 255.
        pipeline: The steps of its validation data between loading and packing, as configs.
    """

    model: nn.Module
    classes: list[str]
    palette: list[list[int]]
    pipeline: list[dict[str, Any]]


def load_segmentor(checkpoint: str | Path, config: str | Path | None = None) -> TrainedSegmentor:
    """Build the model of a checkpoint and load its weights strictly.

    The config inside a checkpoint of a training is read as data: nothing in it runs.

    Args:
        checkpoint: The file.
        config: A config file, for checkpoints without one (published files) and for models whose
            classes are registered by code of your own.

    Raises:
        UserError: The checkpoint cannot be read or has no config, the config has a type that is not
            registered, or the weights do not fit.
    """
    init_default_scope('mmseg_kd')
    loaded = read_checkpoint(checkpoint)
    cfg = load_config(str(config)) if config else _own_config(loaded, checkpoint)
    if not isinstance(cfg.get('model'), dict):
        raise UserError(f'{config or checkpoint}: the config has no `model`')
    with config_errors(), only_registered(trusted=bool(config)):
        model = build_segmentor(without_distillation(cfg['model']))
    matched = load_strictly(model, loaded, checkpoint)
    print_log(f'{checkpoint}: matched {matched}/{matched} tensors', logger='current')
    classes, palette = _classes(loaded.get('meta'), model.num_classes)
    return TrainedSegmentor(model.eval(), classes, palette, _pipeline(cfg))


def _own_config(loaded: dict[str, Any], checkpoint: str | Path) -> Mapping[str, Any]:
    text = value_at(loaded, 'meta.cfg')
    with user_errors('', UserError, after='; name the config of its training: --config'):
        if not isinstance(text, str):
            raise UserError(f'{checkpoint}: holds no config')
        return parse_buildable(text, checkpoint)[0]


def _classes(meta: Any, count: int) -> tuple[list[str], list[list[int]]]:
    """Return names and colours of the classes; numbers and default colours if there are none."""
    classes = classes_of(meta) or [f'class {i}' for i in range(count)]
    # mmseg 0.x writes it directly into the meta, in capitals.
    palette = value_at(meta, 'dataset_meta.palette') or value_at(meta, 'PALETTE')
    if palette is None or len(palette) < len(classes):
        palette = [class_colour(i) for i in range(len(classes))]
    return [str(name) for name in classes], np.asarray(palette).astype(int).tolist()


def _pipeline(cfg: Mapping[str, Any]) -> list[dict[str, Any]]:
    keys = ('val_dataloader.dataset', 'test_dataloader.dataset')
    found = [dataset for key in keys for _, dataset in walk(value_at(cfg, key))]
    steps: Sequence[dict] = next((x['pipeline'] for x in found if 'pipeline' in x), ())
    return [dict(step) for step in steps if not step['type'].startswith(('Load', 'Pack'))]
