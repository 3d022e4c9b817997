"""Labels that the model has no class for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmseg_kd.errors import UserError
from mmseg_kd.models.mit import SMALLEST_SIDE, MixTransformer


class LabelCheckHook(Hook):
    """Refuse data whose classes are not the model's; `KDRunner` has this hook for segmentors.

    A label without a class is an index out of bounds, which on a GPU ends the process at some
    later step and names nothing. The data set's number of classes is compared before the run, the
    labels of each image as its first batch leaves the data loader, where they are not on the GPU
    yet: in training those of its first crop. Costs up to 1 ms an image of 512x512, once.

    Raises:
        UserError: Another number of classes, a label beyond them, or an image that is too small
            for the backbone.
    """

    priority = 'HIGHEST'

    def __init__(self) -> None:
        self._seen: set[str | None] = set()

    def before_run(self, runner: Runner) -> None:
        """Compare the numbers of classes."""
        known = runner.bare_model.num_classes
        for split, loop in runner.loops.items():
            classes = getattr(loop.dataloader.dataset, 'metainfo', {}).get('classes')
            if classes and len(classes) != known:
                raise UserError(
                    f'model.decode_head.num_classes is {known}, but {split}_dataloader.dataset has '
                    f'{len(classes)} classes: write model.decode_head.num_classes={len(classes)}'
                )

    def _before_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, mode: str = 'train'
    ) -> None:
        model = runner.bare_model
        if mode != 'train':
            _check_sides(model, data_batch)
        for sample in _samples(data_batch):
            path = sample.get('seg_map_path') or sample.get('img_path')
            if path not in self._seen and 'gt_sem_seg' in sample:
                _check_labels(sample.gt_sem_seg.data, path, model.num_classes, _ignore_index(model))
                self._seen |= {path} - {None}


def _ignore_index(model: nn.Module) -> int:
    head = model.decode_head
    # The last head of a cascade gives the model's answer.
    return getattr(head[-1] if isinstance(head, nn.ModuleList) else head, 'ignore_index', 255)


def _samples(batch: Any) -> Iterator[SegDataSample]:
    for item in batch.get('data_samples') or () if isinstance(batch, dict) else ():
        # Test-time augmentation has several of an image.
        yield from item if isinstance(item, list | tuple) else [item]


def _check_labels(labels: Tensor, path: str | None, known: int, ignored: int) -> None:
    """Refuse an image's labels beyond the classes that the model knows."""
    found = torch.bincount(labels.flatten()).nonzero().flatten().tolist()
    beyond = [x for x in found if x >= known and x != ignored]
    if not beyond:
        return
    highest = beyond[-1]
    advice = 'and class ids in place of grey values or colours'
    if beyond == list(range(known, highest + 1)):
        count = highest + 1
        advice = f'or add the class to the data set and set model.decode_head.num_classes={count}'
    raise UserError(
        f'{path}: has label {highest}, but the model knows 0 to {known - 1}: write {ignored} where '
        f'no class is meant, {advice}'
    )


def _check_sides(model: nn.Module, batch: Any) -> None:
    """Refuse an image that is smaller than the strides of the transformer."""
    padded = getattr(model.data_preprocessor, 'test_cfg', None)
    if padded or not isinstance(model.backbone, MixTransformer):
        return
    for image, sample in zip(batch['inputs'], batch['data_samples'], strict=False):
        if isinstance(image, Tensor) and min(image.shape[-2:]) < SMALLEST_SIDE:
            raise UserError(
                f'{sample.get("img_path")}: {image.shape[-1]}x{image.shape[-2]} pixels, but the '
                f'backbone needs {SMALLEST_SIDE} a side: write '
                f'model.data_preprocessor.test_cfg.size_divisor={SMALLEST_SIDE} to pad it'
            )
