"""The registries of `default_scope='mmseg_kd'`: children of mmseg's.

A `type` in a config is looked up here, then in mmseg, then in mmengine. The project registers
its losses, models and hooks in mmseg's registries, so that they are also found under
`default_scope='mmseg'`. The registries here hold only the classes that replace one of mmseg under
the same name: `EncoderDecoder`, `LoadImageFromFile` and `LoadAnnotations`. Write
`mmseg.EncoderDecoder` and so on for mmseg's own.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

from mmengine import registry as mmengine_registry
from mmengine.registry import Registry
from mmseg import registry as mmseg_registry

from mmseg_kd.compat import IMPORTS_TYPES

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
    roots = [each for each in vars(mmengine_registry).values() if isinstance(each, Registry)]
    children = [child for root in roots for child in root.children.values()]
    below = [each for child in children for each in child.children.values()]
    # Those of other projects first, which the default scope does not find.
    order = ('mmengine', 'mmseg', 'mmseg_kd')
    found: dict[str, Any] = {}
    for registry in sorted([*roots, *children, *below], key=lambda each: each.scope in order):
        # A registry finds what those above it have.
        scopes = {registry.scope, 'mmseg', 'mmseg_kd'} if registry in roots else {registry.scope}
        for name, cls in registry.module_dict.items():
            names = (name, f'{cls.__module__}.{cls.__qualname__}', *(f'{s}.{name}' for s in scopes))
            found |= dict.fromkeys(names, cls)
    return found


@contextmanager
def only_registered(trusted: bool = False) -> Iterator[None]:
    """Build parts of an untrusted config: mmengine would import and call any dotted name.

    Some arguments name a type under another key, such as `padding_mode` and `resize_type`. A
    trusted config, which the user named, is built as it is.
    """
    # A teacher would run the code of its config.
    safe = {k: v for k, v in registered_types().items() if not hasattr(v, 'follows_student')}
    with nullcontext() if trusted else patch(IMPORTS_TYPES, safe.get):
        yield
