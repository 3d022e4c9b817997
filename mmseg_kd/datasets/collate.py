"""How a worker of a data loader sends a batch: labels as bytes, and never silently nothing."""

import os
from collections.abc import Callable, Sequence
from multiprocessing.queues import Queue
from typing import Any

from mmengine.dataset import pseudo_collate
from mmengine.registry import FUNCTIONS
from torch.utils.data import get_worker_info

from mmseg_kd.compat import FEEDER_ERROR
from mmseg_kd.errors import one_line


# Configs of earlier versions have the second name.
@FUNCTIONS.register_module(name=['byte_label_collate', 'one_piece_collate'])
def byte_label_collate(samples: Sequence[Any]) -> Any:
    """Return what mmengine's `pseudo_collate` returns; a worker sends labels as uint8.

    mmseg packs labels as int64, which takes eight times the shared memory and the time to fill it.
    """
    batch = pseudo_collate(samples)
    maps = [x.gt_sem_seg for x in batch['data_samples'] if 'gt_sem_seg' in x]
    if get_worker_info() is None or any(x.data.min() < 0 or x.data.max() > 255 for x in maps):
        return batch
    for labels in maps:
        labels.data = labels.data.byte()
    return _Sent(batch)


class _Sent:
    """A batch that unpickles as the batch itself, with labels in int64 again."""

    def __init__(self, batch: dict) -> None:
        self.batch = batch

    def __reduce__(self) -> tuple:
        return _receive, (self.batch,)


def _receive(batch: dict) -> dict:
    for sample in batch['data_samples']:
        if 'gt_sem_seg' in sample:
            sample.gt_sem_seg.data = sample.gt_sem_seg.data.long()
    return batch


def end_with_lost_batches(initialise: Callable[[int], None], worker: int) -> None:
    """Initialise a worker of a data loader that ends if it cannot send a batch.

    Python would drop a batch for which there is no shared memory, and the training would wait for
    it forever.
    """

    def end(error: Exception, _: object) -> None:
        print(f'a worker of a data loader cannot send a batch: {one_line(error)}', flush=True)
        os._exit(1)

    setattr(Queue, FEEDER_ERROR, staticmethod(end))
    initialise(worker)
