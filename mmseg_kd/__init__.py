"""Config-driven knowledge distillation for semantic segmentation, on mmsegmentation 1.x.

Importing the package registers its models, losses, data sets, metrics and hooks in mmseg's
registries, so that a config names them like mmseg's own.
"""

import multiprocessing
from importlib import import_module

from mmseg_kd._quiet import quiet_imports
from mmseg_kd.installation import refuse_mixed_installation

__version__ = '0.1.0'
__all__ = ['__version__', 'register_all']

refuse_mixed_installation()


def register_all() -> None:
    """Import everything that a config can name."""
    with quiet_imports():
        for part in ('datasets', 'distillation', 'engine', 'evaluation', 'models'):
            import_module(f'mmseg_kd.{part}')


# A spawned process reads what it is to do and imports the package for it. For a data loader's
# worker that is a data set; the rest would take three times as long and 250 MiB.
if getattr(multiprocessing.current_process(), '_inheriting', False):
    with quiet_imports():
        import_module('mmseg_kd.datasets')
else:
    register_all()
