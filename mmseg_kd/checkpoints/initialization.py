"""Load the weights that any `init_cfg` in a model names, safely and completely.

Importing this module replaces the loaders of mmengine's `CheckpointLoader`, with which every
backbone and head of mmseg reads its weights. mmengine's own loaders run the code in a file.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from mmengine.logging import print_log
from mmengine.model import PretrainedInit
from mmengine.runner import CheckpointLoader
from torch import nn
from torch.utils.hooks import RemovableHandle

from mmseg_kd.checkpoints.pretrained import fit_backbone
from mmseg_kd.checkpoints.safe_load import read_checkpoint
from mmseg_kd.checkpoints.sources import NAMED, URLS, find_weights
from mmseg_kd.errors import UserError
from mmseg_kd.nested import dicts, nodes

# The schemes that mmengine has loaders for.
SCHEMES = [f'{name}://' for name in ('pavi', r'(\S+\:)?s3', r'(\S+\:)?petrel', *NAMED)]


@CheckpointLoader.register_scheme(prefixes=['', *URLS, *SCHEMES], force=True)
def load_from_file(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Read a checkpoint as data; replaces mmengine's loaders."""
    return read_checkpoint(find_weights(filename), map_location or 'cpu')


def init_weights(model: nn.Module) -> None:
    """Initialise a model, and require that a file in an `init_cfg` fills its part completely.

    The log reports how many tensors of each file matched.

    Raises:
        UserError: A file is missing, contains code, does not fit, or is not read by its module.
    """
    loaded: set[str] = set()
    watched = list(_pretrained(model))
    with ExitStack() as hooks:
        for where, module, init_cfg in watched:
            hooks.enter_context(_watch(where, module, init_cfg, loaded))
        model.init_weights()
    for where, module, init_cfg in watched:
        if where not in loaded:
            problem = f'{type(module).__name__} does not load {init_cfg.get("checkpoint")}'
            raise UserError(f'{where}.init_cfg: {problem}; see its docstring for a key that does')


def _watch(where: str, module: nn.Module, init_cfg: dict, loaded: set[str]) -> RemovableHandle:
    """Fit the file of an `init_cfg` when its module loads it, and add the module to `loaded`."""
    source = str(init_cfg.get('checkpoint'))
    # mmengine's `Pretrained` does not accept this key.
    strict = init_cfg.pop('strict', True)

    def check(module: nn.Module, state_dict: dict, prefix: str, *_: Any) -> None:
        # With a prefix, torch loads a module that contains this one.
        if not prefix:
            hint = f'to load only what fits, write strict=False in {where}.init_cfg (no pretrained)'
            fitting, report = fit_backbone(module, state_dict, source, where, hint, strict)
            # Both torch and mmengine load a copy.
            state_dict.clear()
            state_dict.update(fitting)
            print_log(report, logger='current')
            loaded.add(where)

    return module.register_load_state_dict_pre_hook(check)


def _pretrained(model: nn.Module) -> Iterator[tuple[str, nn.Module, dict]]:
    """Yield each `init_cfg` that names a file, and each override in one, with key and module."""
    for name, module in model.named_modules():
        for where, init_cfg in dicts(getattr(module, 'init_cfg', None)):
            if init_cfg.get('type') in ('Pretrained', PretrainedInit):
                # An override applies to the part that it names.
                part = f'.{init_cfg["name"]}' if 'override' in where else ''
                path = f'{name}{part}'.strip('.')
                yield f'model.{path}'.rstrip('.'), model.get_submodule(path), init_cfg


def forget_pretrained(model: Any) -> None:
    """Remove pretrained weights from a model dict, at any depth, because a checkpoint follows.

    Teachers keep theirs.
    """
    for where, part in list(dicts(model)):
        if 'teacher' in where.split('.'):
            continue
        if any(key.endswith('checkpoint') for key, _ in nodes(part.get('init_cfg'))):
            part.pop('init_cfg')
        part.pop('checkpoint_path', None)
        if str(part.get('type')).endswith('TIMMBackbone'):
            # timm downloads weights by default.
            part['pretrained'] = False
        elif 'pretrained' in part:
            part['pretrained'] = None
