"""Training and testing: the runner, its loop, the optimizer, and the hooks."""

# ruff: noqa: F401  (the imports register the types that a config names)

from mmseg_kd.engine import hooks
from mmseg_kd.engine.optim import Bf16OptimWrapper, GroupedOptimWrapperConstructor, LrUpdater
from mmseg_kd.engine.prefetching_loop import PrefetchingTrainLoop
from mmseg_kd.engine.runner import KDRunner, build_runner
