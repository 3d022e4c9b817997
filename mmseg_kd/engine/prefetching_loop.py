"""A training loop that receives the next batch while the current one trains."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from mmengine.runner import IterBasedTrainLoop
from mmseg.registry import LOOPS
from torch import nn

from mmseg_kd.errors import UserError


@LOOPS.register_module()
class PrefetchingTrainLoop(IterBasedTrainLoop):
    """mmengine's IterBasedTrainLoop; a thread receives the batches from the data loader's workers.

    Receiving a batch takes several round trips to a worker that is busy with its next one. The
    thread also packs the batch into page-locked memory. The batches and their order stay the same.

    The thread is not used without workers, or with a sampler that draws from the global random
    stream instead of its own.

    Args:
        *args: As for mmengine's loop.
        time_budget: Seconds of training, without start-up, evaluations and checkpoints.
            `tools/train.py` and studies turn them into `max_iters`
            (`mmseg_kd.studies.time_budget`), and the schedules end there.
        seconds_per_iter: Seconds of one iteration; measured by default.
        **kwargs: As for mmengine's loop.

    Raises:
        UserError: From `run`: the budget was not turned into iterations.
    """

    def __init__(
        self,
        *args: Any,
        time_budget: float | None = None,
        seconds_per_iter: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.time_budget, self.seconds_per_iter = time_budget, seconds_per_iter
        if self.dataloader.num_workers > 0 and hasattr(self.dataloader.sampler, 'skip'):
            prepare = getattr(self.runner.bare_model.data_preprocessor, 'prepare', None)
            self.dataloader_iterator = Prefetched(self.dataloader_iterator, prepare)

    def run(self) -> nn.Module:
        """Train; with a budget, log the length and store the pace in the checkpoints."""
        if self.time_budget is not None:
            if self.seconds_per_iter is None:
                raise UserError(
                    'train_cfg.time_budget: before you build the runner, call '
                    'mmseg_kd.studies.time_budget.fit_time_budget(cfg), as tools/train.py does'
                )
            self.runner.message_hub.update_info('seconds_per_iter', self.seconds_per_iter)
            self.runner.logger.info(
                f'time_budget={self.time_budget:g}: {self.max_iters} iterations at '
                f'{self.seconds_per_iter:g} s each'
            )
        return super().run()


class Prefetched:
    """An iterator whose next item a thread gets while the current one is in use.

    The caller's thread gets the first item, because that starts workers and draws seeds. An error
    is raised when its item is asked for.

    Args:
        iterator: The source of the items.
        prepare: Applied to each item in the thread.
    """

    def __init__(self, iterator: Iterator, prepare: Callable | None = None) -> None:
        self._iterator, self._prepare = iterator, prepare
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix='prefetch')
        self._next: Future | None = None

    def _get(self) -> Any:
        item = next(self._iterator)
        return item if self._prepare is None else self._prepare(item)

    def __next__(self) -> Any:
        item = self._next.result() if self._next else self._get()
        self._next = self._thread.submit(self._get)
        return item

    def skip_iter(self, num_iters: int) -> None:
        """Skip the first items when a run is resumed, before any is taken."""
        self._iterator.skip_iter(num_iters)
