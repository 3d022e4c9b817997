"""Config-driven knowledge distillation for semantic segmentation, on mmsegmentation 1.x.

Importing the package registers its models, losses, data sets, metrics and hooks in mmseg's
registries, so that a config names them like mmseg's own.
"""

from mmseg_kd._quiet import quiet_imports
from mmseg_kd.installation import refuse_mixed_installation

__version__ = '0.1.0'

refuse_mixed_installation()

with quiet_imports():
    from mmseg_kd import datasets, distillation, engine, evaluation, models

__all__ = ['__version__', 'datasets', 'distillation', 'engine', 'evaluation', 'models']
