"""Check everything that a run resumes from before it is used.

`run` checks progress, logs and best checkpoints, `optimizer` the optimizer and the schedules;
`random_state` saves and restores the random streams.
"""

from mmseg_kd.engine.resuming.optimizer import check_optimizer
from mmseg_kd.engine.resuming.run import check_resumable

__all__ = ['check_optimizer', 'check_resumable']
