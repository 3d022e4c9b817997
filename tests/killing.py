"""A hook that stops a run at a stage of its training, as a power cut does."""

from __future__ import annotations

from mmengine.hooks import Hook


class Kill(Exception):
    """Stands for a power cut."""


class KillAt(Hook):
    """Raise `Kill` when a run reaches a stage, such as 'after_train_iter', in an iteration."""

    def __init__(self, stage: str, iteration: int) -> None:
        def kill(runner: object, *args: object, **kwargs: object) -> None:
            if runner.iter == iteration:
                raise Kill

        setattr(self, stage, kill)
