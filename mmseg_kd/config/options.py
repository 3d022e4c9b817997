"""Override a config by dotted keys, and find variables that are set too late to have an effect."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmseg_kd.config.defaults import open_crop
from mmseg_kd.config.values import SPLITS
from mmseg_kd.errors import UserError

# Variables of a config file, and the keys whose values are made of them.
VARIABLES = {
    'data_root': 'train_dataloader.dataset.data_root=PATH (and val_, test_)',
    'dataset_type': 'train_dataloader.dataset.type=TYPE (and val_, test_)',
    'crop_size': 'train_dataloader.dataset.pipeline.N.crop_size=(H, W)',
    'num_classes': 'model.decode_head.num_classes=N',
    'norm_cfg': 'model.decode_head.norm_cfg.type=TYPE',
    'max_iters': 'train_cfg.max_iters=N',
    'optimizer': 'optim_wrapper.optimizer.KEY=VALUE',
    'train_pipeline': 'train_dataloader.dataset.pipeline.N.KEY=VALUE',
    'test_pipeline': 'test_dataloader.dataset.pipeline.N.KEY=VALUE',
    'custom_imports': 'it in a config of your own',
    'vis_backends': 'visualizer.vis_backends.N.KEY=VALUE',
}


def apply_options(cfg: Config, options: dict[str, Any]) -> None:
    """Override keys of a config, in place.

    Raises:
        UserError: As `check_options` does.
    """
    check_options(options, cfg)
    cfg.merge_from_dict(_replacing(cfg, options))


def check_options(options: dict[str, Any], cfg: Config) -> None:
    """Raise UserError for a `--cfg-options` key that has no place, or comes too late for an effect.

    Args:
        options: Overrides by dotted key.
        cfg: The config before them; crops that are its `crop_size` will follow another one.
    """
    for key in options:
        if not all(key.split('.')):
            raise UserError(f'--cfg-options {key}={options[key]}: a part of the key is empty')
        follows = key == 'crop_size' and open_crop(cfg)
        if not follows and (instead := VARIABLES.get(key.split('.')[0])):
            raise UserError(
                f'--cfg-options {key}: a variable of the config file, used before the command '
                f'line is read; write {instead}'
            )
        for where, node, part in _steps(cfg, key):
            if isinstance(node, list | tuple) and not (part.isdecimal() and int(part) < len(node)):
                raise UserError(
                    f'--cfg-options {key}: {where} is a list; write a number below {len(node)}, '
                    f'not {part!r}'
                )


def check_variables(cfg: Config, source: str) -> None:
    """Raise UserError for a variable of a base config that a file sets too late.

    Args:
        cfg: The config as the file has it, before the command line overrides what used it.
        source: The file.
    """
    for key, used in _variables_in_use(cfg).items():
        # A file without a base, such as a run leaves behind, may hold what was overridden.
        late = line_of(source, '_base_') and line_of(source, key)
        if late and used and cfg[key] not in used:
            raise UserError(
                f'{source}{line_of(source, key)}: {key} is a variable of a base config, used '
                f'before this line; write {VARIABLES[key]}'
            )


def line_of(source: str, key: str) -> str:
    """Return where a key is assigned in a config file, as ', line N', or ''."""
    for number, text in enumerate(Path(source).read_text(encoding='utf-8').splitlines(), start=1):
        if re.match(rf'{re.escape(key)}\s*=', text):
            return f', line {number}'
    return ''


def _variables_in_use(cfg: Config) -> dict[str, list]:
    """Return the values that the config's variables have where they are used."""
    loaders = [cfg.get(f'{split}_dataloader') for split in SPLITS]
    datasets = [loader.get('dataset') for loader in loaders if isinstance(loader, dict)]
    datasets = [dataset for dataset in datasets if isinstance(dataset, dict)]
    pipelines = [dataset.get('pipeline') or [] for dataset in datasets]
    steps = [step for p in pipelines if isinstance(p, list) for step in p if isinstance(step, dict)]
    used = {
        'data_root': [dataset.get('data_root') for dataset in datasets],
        'crop_size': [step.crop_size for step in steps if step.get('crop_size')],
        'train_pipeline': pipelines,
        'test_pipeline': pipelines,
    }
    return {key: values for key, values in used.items() if key in cfg}


def _replacing(cfg: Config, options: dict[str, Any]) -> dict[str, Any]:
    """Let a dict take the place of a number, which mmengine refuses without `_delete_`."""
    options = dict(options)
    for key in list(options):
        for where, node, _ in _steps(cfg, key):
            if where and not isinstance(node, dict | list | tuple | None):
                options[f'{where}._delete_'] = True
    return options


def _steps(cfg: Config, key: str) -> list[tuple[str, Any, str]]:
    """Return each place on the way to a dotted key: its own key, what is there, the next part."""
    steps: list[tuple[str, Any, str]] = []
    node: Any = cfg
    parts = key.split('.')
    for i, part in enumerate(parts):
        steps.append(('.'.join(parts[:i]), node, part))
        if isinstance(node, list | tuple):
            node = node[int(part)] if part.isdecimal() and int(part) < len(node) else None
        else:
            node = node.get(part) if isinstance(node, dict | Config) else None
    return steps
