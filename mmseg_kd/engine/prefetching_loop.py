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
    """mmengine's IterBasedTrainLoop; a thread takes the batches from the data loader's workers.

    To receive a prepared batch takes several round trips to a worker that is busy with the next
    one. The thread also packs the batch into page-locked memory. Batches and their order are the
    same.

    Where there are no workers, or the sampler has no random stream of its own and would draw
    numbers in the thread, this is mmengine's loop.

    Args:
        *args: As for mmengine's loop.
        time_budget: Seconds of training, without start-up, evaluations and checkpoints.
            `tools/train.py` and studies turn them into `max_iters`
            (`mmseg_kd.studies.time_budget`), and the schedules end there.
        seconds_per_iter: How many of them an iteration takes; measured by default.
        **kwargs: As for mmengine's loop.

    Raises:
        UserError: From `run`: there is a budget that was not turned into iterations.
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
        """Train; a run with a budget reports its length and keeps it for its checkpoints."""
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
    """An iterator whose next item a thread gets while the last one is in use.

    The first item comes from the caller's thread, where workers start and seeds are drawn. An
    error comes with the item that it belongs to.

    Args:
        iterator: Where the items come from.
        prepare: What the thread does to each item.
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
