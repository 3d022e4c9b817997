"""The registries of `default_scope='mmseg_kd'`: children of mmseg's.

A `type` in a config is looked up here, then in mmseg, then in mmengine. The project registers
its losses, models and hooks in mmseg's registries, so that they are found under
`default_scope='mmseg'` too. Registered here is only what stands in for a class of mmseg under its
name: `EncoderDecoder`, `LoadImageFromFile` and `LoadAnnotations`. mmseg's own are
`mmseg.EncoderDecoder` and so on.
"""

from typing import Any

from mmengine import registry as mmengine_registry
from mmengine.registry import Registry
from mmseg import registry as mmseg_registry

# mmengine asks the registries of the default scope alone, so every kind needs one. It imports the
# locations before the first look-up, and not those of the parent.
LOCATIONS = ['mmseg_kd', 'mmseg.datasets', 'mmseg.engine', 'mmseg.evaluation', 'mmseg.models']
LOCATIONS += ['mmseg.visualization']
REGISTRIES = {
    name: Registry(parent.name, parent=parent, scope='mmseg_kd', locations=LOCATIONS)
    for name, parent in vars(mmseg_registry).items()
    if isinstance(parent, Registry)
}
MODELS = REGISTRIES['MODELS']


def registered_types() -> dict[str, Any]:
    """Return all registered types, each by its name, with its scope and with its module.

    Where several have a name, the one that `default_scope='mmseg_kd'` finds first is returned.
    """
    stock = [*vars(mmengine_registry).values(), *vars(mmseg_registry).values()]
    found: dict[str, Any] = {}
    for registry in [*stock, *REGISTRIES.values()]:
        for name, cls in registry.module_dict.items() if isinstance(registry, Registry) else ():
            names = (name, f'{registry.scope}.{name}', f'{cls.__module__}.{cls.__qualname__}')
            found |= dict.fromkeys(names, cls)
    return found
