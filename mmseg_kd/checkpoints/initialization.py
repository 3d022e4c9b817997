"""Load the weights that `init_cfg` names, anywhere in a model, as data and completely.

Importing this module replaces the loaders of mmengine's `CheckpointLoader`, by which every backbone
and head of mmseg reads its weights. mmengine's own run the code in a file.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from mmengine.logging import print_log
from mmengine.model import PretrainedInit
from mmengine.registry import WEIGHT_INITIALIZERS
from mmengine.runner import CheckpointLoader
from mmseg.registry import MODELS
from torch import nn

from mmseg_kd.checkpoints.matching import fit
from mmseg_kd.checkpoints.safe_load import read_checkpoint, state_dict_of
from mmseg_kd.checkpoints.sources import NAMED, URLS, find_weights
from mmseg_kd.errors import UserError

# Layers of ImageNet classifiers that backbones do not have.
CLASSIFIERS = ('head.', 'fc.', 'classifier.')


@CheckpointLoader.register_scheme(
    prefixes=['', *URLS, 'pavi://', r'(\S+\:)?s3://', r'(\S+\:)?petrel://'], force=True
)
def load_from_file(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Read a checkpoint as data, instead of mmengine's loaders."""
    return read_checkpoint(find_weights(filename), map_location or 'cpu')


@CheckpointLoader.register_scheme(prefixes=[f'{name}://' for name in NAMED], force=True)
def load_from_name(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Read weights by name; of a classifier of mmcls, only the backbone."""
    checkpoint = load_from_file(filename, map_location)
    if not filename.startswith('mmcls://'):
        return checkpoint
    tensors = state_dict_of(checkpoint, filename)
    prefix = 'backbone.'
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


@WEIGHT_INITIALIZERS.register_module(name='Pretrained', force=True)
class StrictPretrainedInit(PretrainedInit):
    """mmengine's `Pretrained` with an option; `init_weights` refuses weights that do not fit.

    Args:
        checkpoint: A path, a URL or a name such as `open-mmlab://resnet50_v1c`.
        prefix: Prefix of the part to load, such as `backbone.`.
        map_location: As for `torch.load`.
        strict: Whether the file must fill every tensor; with False the log lists the others.
    """

    def __init__(
        self,
        checkpoint: str,
        prefix: str | None = None,
        map_location: str = 'cpu',
        strict: bool = True,
    ) -> None:
        super().__init__(checkpoint, prefix, map_location)
        self.strict = strict


class _Entry:
    """A module and the file in its `init_cfg`."""

    def __init__(self, where: str, module: nn.Module, init_cfg: dict) -> None:
        self.where, self.module = where, module
        self.source, self.strict = str(init_cfg.get('checkpoint')), init_cfg.get('strict', True)
        self.loaded = False
        self.handle = module.register_load_state_dict_pre_hook(self.check)

    def check(self, module: nn.Module, state_dict: dict, prefix: str, *_: Any) -> None:
        """Keep only what fits in `state_dict`, which is a copy in both torch and mmengine."""
        if prefix:
            # A module around this one is being loaded.
            return
        found = state_dict_of(state_dict, self.source)
        own = module.state_dict()
        surplus = [key for key in found if key not in own and key.startswith(CLASSIFIERS)]
        found = {key: value for key, value in found.items() if key not in surplus}
        hint = f'to load only what fits, write strict=False in {self.where}.init_cfg'
        if not found.keys() & own.keys():
            hint = 'the file is of another architecture'
        if any(key.startswith('backbone.') for key in found.keys() - own.keys()):
            hint = f"write prefix='backbone.' in {self.where}.init_cfg"
        fitting, report = fit(module, found, self.source, hint, self.strict)
        state_dict.clear()
        state_dict.update(fitting)
        left = f', left out {", ".join(surplus)}' if surplus else ''
        print_log(f'{self.source}: {report} of {self.where}{left}', logger='current')
        self.loaded = True


def init_weights(model: nn.Module) -> None:
    """Initialise a model; a file in an `init_cfg` must fill its part completely.

    The log reports how many tensors of each file matched.

    Raises:
        UserError: A file is missing, holds code, does not fit, or is not read by its module.
    """
    entries = list(_entries(model))
    try:
        model.init_weights()
    finally:
        for entry in entries:
            entry.handle.remove()
    for entry in entries:
        if not entry.loaded:
            raise UserError(
                f'{entry.where}.init_cfg: {type(entry.module).__name__} does not load '
                f'{entry.source}; see its docstring for how it takes pretrained weights'
            )


def _entries(model: nn.Module) -> Iterator[_Entry]:
    for name, module in model.named_modules():
        where = f'model.{name}'.rstrip('.')
        init_cfg = getattr(module, 'init_cfg', None)
        for one in init_cfg if isinstance(init_cfg, list | tuple) else [init_cfg]:
            if not isinstance(one, dict):
                continue
            if _is_pretrained(one):
                yield _Entry(where, module, one)
            override = one.get('override') or []
            for other in [override] if isinstance(override, dict) else override:
                part = getattr(module, str(other.get('name')), None)
                if _is_pretrained(other) and isinstance(part, nn.Module):
                    yield _Entry(f'{where}.{other["name"]}', part, other)


def _is_pretrained(init_cfg: dict) -> bool:
    kind = init_cfg.get('type')
    return kind == 'Pretrained' or (inspect.isclass(kind) and issubclass(kind, PretrainedInit))


def check_files(model: Any) -> dict[str, int]:
    """Read the files that constructors of a model load by themselves, such as timm's backbones.

    Args:
        model: A model dict.

    Returns:
        The number of tensors in each file.

    Raises:
        UserError: A file is missing, holds code or is not finite.
    """
    files = [part['checkpoint_path'] for part in _parts(model) if part.get('checkpoint_path')]
    return {str(file): len(state_dict_of(read_checkpoint(file), file)) for file in files}


def forget_pretrained(model: Any) -> None:
    """Remove pretrained weights from a model dict, at any depth, because a checkpoint follows.

    Teachers keep theirs.
    """
    for part in list(_parts(model)):
        if _names_a_file(part.get('init_cfg')):
            part.pop('init_cfg')
        part.pop('checkpoint_path', None)
        default = _default(part.get('type'), 'pretrained')
        if 'pretrained' in part or default:
            # timm's backbones download weights by default.
            part['pretrained'] = False if isinstance(default, bool) else None


def _parts(model: Any) -> Iterator[dict]:
    """Yield every dict in a model dict, except those of teachers."""
    if isinstance(model, dict):
        yield model
        model = [part for key, part in model.items() if key != 'teacher']
    for part in model if isinstance(model, list | tuple) else ():
        yield from _parts(part)


def _names_a_file(init_cfg: Any) -> bool:
    if isinstance(init_cfg, list | tuple):
        return any(map(_names_a_file, init_cfg))
    return isinstance(init_cfg, dict) and (
        'checkpoint' in init_cfg or _names_a_file(init_cfg.get('override'))
    )


def _default(kind: Any, argument: str) -> Any:
    """Return the default of an argument of a registered class; None if it has none."""
    known = (registry.module_dict.get(kind) for registry in (MODELS, *MODELS.children.values()))
    cls = next(filter(None, known), None) if isinstance(kind, str) else kind
    if not inspect.isclass(cls):
        return None
    parameter = inspect.signature(cls.__init__).parameters.get(argument)
    return None if parameter is None or parameter.default is parameter.empty else parameter.default
