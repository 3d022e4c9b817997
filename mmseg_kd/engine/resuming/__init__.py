"""What a run resumes from: `checks` looks at it before it is used, `random_state` continues it."""

from mmseg_kd.engine.resuming.checks import check_optimizer, check_resumable, resuming

__all__ = ['check_optimizer', 'check_resumable', 'resuming']
