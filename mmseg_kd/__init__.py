"""Config-driven knowledge distillation for semantic segmentation, on mmsegmentation 1.x.

Importing the package registers its models, losses, data sets, metrics and hooks in mmseg's
registries, so that a config names them like mmseg's own. This takes seconds. A program whose
`__main__` sets `REGISTER_LATE = True` before the import registers them by `load_config`.
"""

import io
import multiprocessing
import sys
import warnings
from contextlib import redirect_stdout
from importlib import import_module

from mmseg_kd.installation import mixed_installation

__version__ = '0.2.0'
__all__ = ['__version__', 'register_all']

# What registers the things that a config can name.
PARTS = ('datasets', 'distillation', 'engine', 'evaluation', 'models', 'visualization.visualizer')

if problem := mixed_installation():
    print(f'error: {problem}', file=sys.stderr)
    sys.exit(2)


def register_all(*parts: str) -> None:
    """Import everything that a config can name, or some of the subpackages."""
    # mmseg and mmcv remark on optional parts that nobody asked for.
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.filterwarnings('ignore', message='.*MultiScaleDeformableAttention.*')
        for part in parts or PARTS:
            import_module(f'mmseg_kd.{part}')


# A spawned data loader's worker imports the package for its data set, before its process has a
# parent. All of it would take three times as long and 250 MiB.
_spawned = multiprocessing.current_process().name != 'MainProcess'
if _spawned and multiprocessing.parent_process() is None:
    register_all('datasets')
elif not getattr(sys.modules['__main__'], 'REGISTER_LATE', False):
    register_all()
