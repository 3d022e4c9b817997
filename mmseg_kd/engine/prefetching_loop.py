"""A training loop that receives the next batch while the current one trains."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from mmengine.runner import IterBasedTrainLoop
from mmseg.registry import LOOPS


@LOOPS.register_module()
class PrefetchingTrainLoop(IterBasedTrainLoop):
    """mmengine's IterBasedTrainLoop; a thread takes the batches from the data loader's workers.

    To receive a prepared batch is several round trips to the worker, which works on another
    one meanwhile and is slow to answer. Batches and their order are the same.

    Where there are no workers, or the sampler's stream is not of its own making, so that it
    could draw random numbers in the thread, it is mmengine's loop. Arguments are the same.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.dataloader.num_workers > 0 and hasattr(self.dataloader.sampler, 'skip'):
            self.dataloader_iterator = Prefetched(self.dataloader_iterator)


class Prefetched:
    """An iterator whose next item a thread gets while the last one is in use.

    The first item comes from the caller's thread, where workers start and seeds are drawn. An
    error comes with the item that it belongs to.
    """

    def __init__(self, iterator: Iterator) -> None:
        self._iterator = iterator
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix='prefetch')
        self._next: Future | None = None

    def __next__(self) -> Any:
        item = self._next.result() if self._next else next(self._iterator)
        self._next = self._thread.submit(next, self._iterator)
        return item

    def skip_iter(self, num_iters: int) -> None:
        """Go on after the first items, as mmengine's loop does when it resumes, before any."""
        assert self._next is None
        self._iterator.skip_iter(num_iters)
