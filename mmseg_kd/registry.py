"""The registries of `default_scope='mmseg_kd'`: children of mmseg's.

A `type` in a config is looked up here, then in mmseg, then in mmengine. The project registers
its losses, models and hooks in mmseg's registries, so that they are also found under
`default_scope='mmseg'`. The registries here hold only the classes that replace one of mmseg under
the same name: `EncoderDecoder`, `LoadImageFromFile` and `LoadAnnotations`. Write
`mmseg.EncoderDecoder` and so on for mmseg's own.
"""

from typing import Any

from mmengine import registry as mmengine_registry
from mmengine.registry import Registry
from mmseg import registry as mmseg_registry

# mmengine starts every look-up in a registry of the default scope, so every kind needs one here.
# Before the first look-up it imports the locations of that registry, but not those of its parent.
LOCATIONS = ['mmseg_kd', 'mmseg.datasets', 'mmseg.engine', 'mmseg.evaluation', 'mmseg.models']
LOCATIONS += ['mmseg.visualization']
REGISTRIES = {
    name: Registry(parent.name, parent=parent, scope='mmseg_kd', locations=LOCATIONS)
    for name, parent in vars(mmseg_registry).items()
    if isinstance(parent, Registry)
}
MODELS = REGISTRIES['MODELS']


def registered_types() -> dict[str, Any]:
    """Return all registered types by `name`, `scope.name` and `module.name`.

    If several have the same name, the one that `default_scope='mmseg_kd'` finds is returned.
    """
    stock = [*vars(mmengine_registry).values(), *vars(mmseg_registry).values()]
    found: dict[str, Any] = {}
    for registry in [*stock, *REGISTRIES.values()]:
        for name, cls in registry.module_dict.items() if isinstance(registry, Registry) else ():
            names = (name, f'{registry.scope}.{name}', f'{cls.__module__}.{cls.__qualname__}')
            found |= dict.fromkeys(names, cls)
    return found
