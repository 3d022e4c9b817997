"""Override a config by dotted keys, and find variables that are set too late to have an effect."""

import copy
import re
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmseg_kd.config.defaults import open_crop
from mmseg_kd.errors import UserError
from mmseg_kd.nested import nodes, value_at

# Variables of a config file, and the keys to override instead.
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

    Args:
        cfg: The config. Crops that equal its `crop_size` follow a new `crop_size`.
        options: Overrides by dotted key.

    Raises:
        UserError: A key does not fit the config, or is set too late to have an effect.
    """
    for key, value in options.items():
        if not all(key.split('.')):
            raise UserError(f'--cfg-options {key}={value}: a part of the key is empty')
        follows = key == 'crop_size' and open_crop(cfg)
        if not follows and (instead := VARIABLES.get(key.split('.')[0])):
            late = 'a variable of the config file, used before the command line is read'
            raise UserError(f'--cfg-options {key}: {late}; write {instead}')
        for where, part in _keys_above(key):
            node = value_at(cfg, where)
            if isinstance(node, list | tuple) and not (part.isdecimal() and int(part) < len(node)):
                advice = f'write a number below {len(node)}, not {part!r}'
                raise UserError(f'--cfg-options {key}: {where} is a list; {advice}')
            last = f'{where}.{part}' == key and not isinstance(value, dict)
            if isinstance(node, tuple) or (isinstance(node, list) and last):
                whole = f'a list of values is replaced as a whole; write "{where}=[a,b]"'
                raise UserError(f'--cfg-options {key}: {whole}')
    # mmengine replaces a single value by a dict only with `_delete_`.
    places = [where for key in options for where, _ in _keys_above(key)]
    single = [p for p in places if not isinstance(value_at(cfg, p), dict | list | tuple | None)]
    for key, value in [*((f'{place}._delete_', True) for place in single), *options.items()]:
        # One at a time, as a key replaces those below it; copies, because mmengine changes them.
        cfg.merge_from_dict({key: copy.deepcopy(value)})


def check_variables(cfg: Config, source: str) -> None:
    """Raise UserError for a variable of a base config that a file sets too late.

    Args:
        cfg: The config before the overrides of the command line.
        source: The file.
    """
    # A file without a base, for example the `config.py` of a run, may contain overridden values.
    if not line_of(source, '_base_'):
        return
    for key in ('data_root', 'crop_size', 'train_pipeline', 'test_pipeline'):
        # The data loaders contain the variable's value, for `train_pipeline` under `pipeline`.
        place = re.compile(rf'\w+_dataloader[.].*\b{re.sub("^(train|test)_", "", key)}')
        used = [value for where, value in nodes(cfg) if value and place.fullmatch(where)]
        if used and cfg.get(key) not in used and (line := line_of(source, key)):
            late = f'{key} is a variable of a base config, used before this line'
            raise UserError(f'{source}{line}: {late}; write {VARIABLES[key]}')


def line_of(source: str, key: str) -> str:
    """Return where a key is assigned in a config file, as ', line N', or ''."""
    text = Path(source).read_text(encoding='utf-8-sig')
    found = re.search(rf'^{re.escape(key)}\s*=', text, re.MULTILINE)
    return f', line {text.count(chr(10), 0, found.start()) + 1}' if found else ''


def _keys_above(key: str) -> list[tuple[str, str]]:
    """Return each key above a dotted key, outermost first, with the part that follows it."""
    parts = key.split('.')
    return [('.'.join(parts[:i]), parts[i]) for i in range(1, len(parts))]
