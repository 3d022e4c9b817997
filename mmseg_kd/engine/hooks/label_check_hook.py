"""Labels that the model has no class for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from mmseg.structures import SegDataSample
from torch import Tensor

from mmseg_kd.errors import UserError


class LabelCheckHook(Hook):
    """Refuse data whose classes are not the model's; every `KDRunner` has this hook.

    A label without a class is an index out of bounds, which on a GPU ends the process at some
    later step and names nothing. The data set's number of classes is compared before the run, the
    labels of each image as its first batch leaves the data loader, where they are not on the GPU
    yet: in training those of its first crop. Costs up to 1 ms an image of 512x512, once.

    Raises:
        UserError: Another number of classes, or a label beyond them.
    """

    priority = 'HIGHEST'

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def before_run(self, runner: Runner) -> None:
        """Compare the numbers of classes."""
        known = getattr(runner.bare_model, 'num_classes', None)
        for split in ('train', 'val', 'test'):
            loop = getattr(runner, f'_{split}_loop')
            if not isinstance(loop, BaseLoop):
                continue
            classes = getattr(loop.dataloader.dataset, 'metainfo', {}).get('classes')
            if classes and known is not None and len(classes) != known:
                raise UserError(
                    f'model.decode_head.num_classes is {known}, but {split}_dataloader.dataset has '
                    f'{len(classes)} classes: write model.decode_head.num_classes={len(classes)}'
                )

    def _before_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, mode: str = 'train'
    ) -> None:
        known = getattr(runner.bare_model, 'num_classes', None)
        if known is None:
            return
        ignored = _ignore_index(runner)
        for sample in _samples(data_batch):
            path = sample.get('seg_map_path') or sample.get('img_path')
            if path in self._seen:
                continue
            highest = _highest(sample.gt_sem_seg.data, known, ignored)
            if highest >= known:
                raise UserError(
                    f'{path}: has label {highest}, but the model knows 0 to {known - 1}: write '
                    f'{ignored} where no class is meant, or add the class to the data set and set '
                    f'model.decode_head.num_classes={highest + 1}'
                )
            if path is not None:
                self._seen.add(path)


def _ignore_index(runner: Runner) -> int:
    head = runner.bare_model.decode_head
    # The last head of a cascade gives the model's answer.
    head = head[-1] if hasattr(head, '__getitem__') else head
    return getattr(head, 'ignore_index', 255)


def _samples(batch: Any) -> Iterator[SegDataSample]:
    for item in batch.get('data_samples') or () if isinstance(batch, dict) else ():
        # Test-time augmentation has several of an image.
        for sample in item if isinstance(item, list | tuple) else [item]:
            if 'gt_sem_seg' in sample:
                yield sample


def _highest(labels: Tensor, known: int, ignored: int) -> int:
    """The highest label that counts, 0 where none does."""
    highest = int(labels.max()) if labels.numel() else 0
    if known <= highest == ignored:
        # A second pass only where void is among them.
        highest = int(labels.masked_fill(labels == ignored, 0).max())
    return highest
