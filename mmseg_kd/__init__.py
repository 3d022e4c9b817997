"""Config-driven knowledge distillation for semantic segmentation, on mmsegmentation 1.x.

Importing the package registers its models, losses, data sets, metrics and hooks in mmseg's
registries, so that a config can name them like mmseg's own. This takes seconds. A program can
delay it until `load_config`: it sets `REGISTER_LATE = True` in `__main__` before the import.
"""

import gc
import io
import multiprocessing
import sys
import warnings
from contextlib import redirect_stdout
from functools import cache
from importlib import import_module

from mmseg_kd.installation import mixed_installation

__version__ = '0.2.0'
__all__ = ['__version__', 'register_all']

# Subpackages that register the types that a config can name.
PARTS = ('datasets', 'distillation', 'engine', 'evaluation', 'models', 'visualization.visualizer')

if problem := mixed_installation():
    print(f'error: {problem}', file=sys.stderr)
    sys.exit(2)


@cache
def register_all(*parts: str) -> None:
    """Import all subpackages that register types, or only the named ones."""
    # None of half a million new objects is garbage. To look through them during the imports, for
    # each data set of mmengine and at the end takes a quarter of a short training.
    gc.disable()
    try:
        # mmseg and mmcv print notes about optional parts that are not needed here.
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.filterwarnings('ignore', message='.*MultiScaleDeformableAttention.*')
            for part in parts or PARTS:
                import_module(f'mmseg_kd.{part}')
    finally:
        gc.enable()
    # What a notebook holds by now may become garbage; a program imports before it makes data.
    if not hasattr(sys, 'ps1'):
        gc.freeze()


# A spawned worker of a data loader imports this package while it unpickles its data set, before
# `parent_process()` is set. It needs only the data sets; importing all subpackages would take three
# times as long and 250 MiB.
_spawned = multiprocessing.current_process().name != 'MainProcess'
if _spawned and multiprocessing.parent_process() is None:
    register_all('datasets')
elif not getattr(sys.modules['__main__'], 'REGISTER_LATE', False):
    register_all()
