"""The registries of `default_scope='mmseg_kd'`: children of mmseg's.

A `type` in a config is looked up here, then in mmseg, then in mmengine. The project registers
its losses, models and hooks in mmseg's registries, so that they are found under
`default_scope='mmseg'` too. Registered here is only what stands in for a class of mmseg under its
name: `EncoderDecoder`, `LoadImageFromFile` and `LoadAnnotations`. mmseg's own are
`mmseg.EncoderDecoder` and so on.
"""

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
