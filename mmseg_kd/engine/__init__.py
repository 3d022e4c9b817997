"""What trains and tests: the runner, its loop, the optimizer, and hooks."""

from mmseg_kd.engine import hooks
from mmseg_kd.engine.optim import Bf16OptimWrapper, GroupedOptimWrapperConstructor, LrUpdater
from mmseg_kd.engine.prefetching_loop import PrefetchingTrainLoop
from mmseg_kd.engine.runner import KDRunner, build_runner

__all__ = [
    'Bf16OptimWrapper',
    'GroupedOptimWrapperConstructor',
    'KDRunner',
    'LrUpdater',
    'PrefetchingTrainLoop',
    'build_runner',
    'hooks',
]
