"""Load the weights that `init_cfg` names, anywhere in a model, as data and completely.

Importing this module replaces the loaders of mmengine's `CheckpointLoader`, by which every backbone
and head of mmseg reads its weights. mmengine's own run the code in a file.
"""

from collections.abc import Iterator
from typing import Any

from mmengine.logging import print_log
from mmengine.model import PretrainedInit
from mmengine.runner import CheckpointLoader
from torch import nn
from torch.utils.hooks import RemovableHandle

from mmseg_kd.checkpoints.pretrained import fit_backbone
from mmseg_kd.checkpoints.safe_load import read_checkpoint, state_dict_of
from mmseg_kd.checkpoints.sources import NAMED, URLS, find_weights
from mmseg_kd.errors import UserError

# Those that mmengine has loaders for.
SCHEMES = [f'{name}://' for name in ('pavi', r'(\S+\:)?s3', r'(\S+\:)?petrel', *NAMED)]


@CheckpointLoader.register_scheme(prefixes=['', *URLS, *SCHEMES], force=True)
def load_from_file(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Read a checkpoint as data, instead of mmengine's loaders."""
    return read_checkpoint(find_weights(filename), map_location or 'cpu')


def init_weights(model: nn.Module) -> None:
    """Initialise a model; a file in an `init_cfg` must fill its part completely.

    The log reports how many tensors of each file matched.

    Raises:
        UserError: A file is missing, holds code, does not fit, or is not read by its module.
    """
    loaded: set[str] = set()
    watched = [
        (f'model.{name}'.rstrip('.'), part, init_cfg)
        for module_name, module in model.named_modules()
        for name, part, init_cfg in _init_cfgs(module_name, module)
        if init_cfg.get('type') in ('Pretrained', PretrainedInit)
    ]
    handles = [_watch(*one, loaded) for one in watched]
    try:
        model.init_weights()
    finally:
        for handle in handles:
            handle.remove()
    for where, module, init_cfg in watched:
        if where not in loaded:
            file = init_cfg.get('checkpoint')
            raise UserError(
                f'{where}.init_cfg: {type(module).__name__} does not load {file}; see its '
                'docstring for how it takes pretrained weights'
            )


def _watch(where: str, module: nn.Module, init_cfg: dict, loaded: set[str]) -> RemovableHandle:
    """Fit the file of an `init_cfg` when its module loads it, and add the module to `loaded`."""
    source = str(init_cfg.get('checkpoint'))
    # mmengine's `Pretrained` does not have this key.
    strict = init_cfg.pop('strict', True)

    def check(module: nn.Module, state_dict: dict, prefix: str, *_: Any) -> None:
        # With a prefix, a module around this one is being loaded.
        if not prefix:
            hint = f'to load only what fits, write strict=False in {where}.init_cfg'
            found = state_dict_of(state_dict, source)
            fitting, report = fit_backbone(module, found, source, where, hint, strict)
            # Both torch and mmengine load a copy.
            state_dict.clear()
            state_dict.update(fitting)
            print_log(report, logger='current')
            loaded.add(where)

    return module.register_load_state_dict_pre_hook(check)


def _init_cfgs(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module, dict]]:
    """Yield each `init_cfg` of a module, and its overrides, with the part it is for."""
    for init_cfg in _as_list(getattr(module, 'init_cfg', None)):
        yield name, module, init_cfg
        for override in _as_list(init_cfg.get('override')):
            part = str(override.get('name'))
            if isinstance(getattr(module, part, None), nn.Module):
                yield f'{name}.{part}', getattr(module, part), override


def _as_list(value: Any) -> list:
    return list(value) if isinstance(value, list | tuple) else [value] if value else []


def forget_pretrained(model: Any) -> None:
    """Remove pretrained weights from a model dict, at any depth, because a checkpoint follows.

    Teachers keep theirs.
    """
    for part in list(_parts(model)):
        if any('checkpoint' in one for one in _parts(part.get('init_cfg'))):
            part.pop('init_cfg')
        part.pop('checkpoint_path', None)
        if str(part.get('type')).endswith('TIMMBackbone'):
            # timm downloads weights by default.
            part['pretrained'] = False
        elif 'pretrained' in part:
            part['pretrained'] = None


def _parts(model: Any) -> Iterator[dict]:
    """Yield every dict in a model dict, except those of teachers."""
    if isinstance(model, dict):
        yield model
        model = [part for key, part in model.items() if key != 'teacher']
    for part in model if isinstance(model, list | tuple) else ():
        yield from _parts(part)
