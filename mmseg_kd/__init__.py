"""Config-driven knowledge distillation for semantic segmentation, on mmsegmentation 1.x.

Importing the package registers its models, losses, data sets, metrics and hooks in mmseg's
registries, so that a config names them like mmseg's own. This takes seconds. A program whose
`__main__` sets `REGISTER_LATE = True` before the import registers them by `load_config`.
"""

import multiprocessing
import sys
from importlib import import_module

from mmseg_kd._quiet import quiet_imports
from mmseg_kd.installation import refuse_mixed_installation

__version__ = '0.1.0'
__all__ = ['__version__', 'register_all']

# Modules that register what a config can name.
PARTS = (
    'datasets',
    'distillation',
    'engine',
    'evaluation',
    'models',
    'visualization.local_backend',
    'visualization.quick_visualizer',
)

refuse_mixed_installation()


def register_all() -> None:
    """Import everything that a config can name."""
    with quiet_imports():
        for part in PARTS:
            import_module(f'mmseg_kd.{part}')


# A spawned data loader's worker imports the package for its data set. All of it would take three
# times as long and 250 MiB.
if getattr(multiprocessing.current_process(), '_inheriting', False):
    with quiet_imports():
        import_module('mmseg_kd.datasets')
elif not getattr(sys.modules['__main__'], 'REGISTER_LATE', False):
    register_all()
