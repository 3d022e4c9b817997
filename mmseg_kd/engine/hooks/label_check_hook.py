"""Report labels for which the model has no class, and classes that no label has."""

from collections.abc import Iterator
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmseg_kd.distillation.taps import last_head
from mmseg_kd.errors import UserError

# Labels have 8 bits.
LABELS = 256
# Classes without a pixel are reported after this many images, or after all if there are fewer.
ENOUGH = 1000


class LabelCheckHook(Hook):
    """Refuse data whose classes are not the model's; `KDRunner` adds this hook for segmentors.

    A label without a class is an index out of bounds. On a GPU it ends the process at a later step,
    with a message that names neither image nor label. The hook compares the number of classes of
    the data set before the run. It checks the labels of each image on the CPU, in training those of
    each crop. A crop of 512x512 takes 0.1 ms, the first one of an image up to 1 ms.

    When it has seen the training images, it reports the classes without a pixel.

    Raises:
        UserError: The data set has another number of classes, the padding, a loss or a metric has
            another label of void than the head, a label has no class, or a sample lacks labels that
            are needed.
    """

    priority = 'HIGHEST'

    def __init__(self) -> None:
        self._seen: set[str | None] = set()
        # Pixels by label, of the training images seen.
        self._pixels = torch.zeros(LABELS, dtype=torch.int64)
        self._trained_on = 0
        # With repetitions, as of a RepeatDataset.
        self._drawn = 0
        self._reported = False

    def before_run(self, runner: Runner) -> None:
        """Compare the classes of each data set, and each label of void, with the model's."""
        known, ignored = _num_classes(runner.bare_model), _ignore_index(runner.bare_model)
        for split, loop in runner.loops.items():
            classes = getattr(loop.dataloader.dataset, 'metainfo', {}).get('classes')
            if classes and len(classes) != known:
                raise UserError(
                    f'model.decode_head.num_classes is {known}, but {split}_dataloader.dataset has '
                    f'{len(classes)} classes: write model.decode_head.num_classes={len(classes)}'
                )

        for where, void in _void_labels(runner):
            if void is not None and void >= known and void != ignored:
                raise UserError(
                    f'model.decode_head.ignore_index is {ignored}, but {where} is {void}: write '
                    f'{where}={ignored}'
                )

    def _before_iter(self, runner: Runner, data_batch: Any, mode: str, **_: Any) -> None:
        known, ignored = _num_classes(runner.bare_model), _ignore_index(runner.bare_model)
        for sample in _samples(data_batch):
            path = sample.get('seg_map_path') or sample.get('img_path')
            self._drawn += mode == 'train'
            if 'gt_sem_seg' not in sample:
                _check_not_needed(runner, mode, path)
                continue
            # An id may be in few crops. Comparing takes a third of the time of counting.
            ids = sample.gt_sem_seg.data.cpu().numpy()
            if path in self._seen and not ((ids >= known) & (ids != ignored)).any():
                continue
            pixels = torch.bincount(torch.from_numpy(ids).flatten(), minlength=LABELS)
            _check_labels(pixels, path, known, ignored)
            self._seen |= {path} - {None}
            if mode == 'train':
                self._pixels += pixels[:LABELS]
                self._trained_on += 1
        images = len(runner.train_dataloader.dataset) if mode == 'train' else 0
        if images and self._drawn >= min(images // runner.world_size, ENOUGH):
            self.after_train(runner)

    def after_train(self, runner: Runner) -> None:
        """Report the classes without a pixel, once; also if the training saw only a few images."""
        if self._reported or not self._trained_on:
            return
        self._reported = True
        model, known = runner.bare_model, _num_classes(runner.bare_model)
        absent = torch.nonzero(self._pixels[:known] == 0).flatten().tolist()
        if not absent:
            return
        names = runner.train_dataloader.dataset.metainfo.get('classes') or range(known)
        ignored = _ignore_index(model)
        void = self._pixels[ignored].item() if 0 <= ignored < LABELS else 0
        percent = 100 * void / max(self._pixels.sum().item(), 1)
        advice = f': if {ignored} in your masks means a class, write its id in place of it'
        runner.logger.warning(
            f'no pixel of class {", ".join(str(names[i]) for i in absent)} in the first crops of '
            f'{self._trained_on} training images, of which {percent:.1f} % are void ({ignored})'
            f'{advice if void else ""}'
        )


def _num_classes(model: nn.Module) -> int:
    # The one channel of a sigmoid stands for two classes.
    return 2 if getattr(last_head(model), 'out_channels', None) == 1 else model.num_classes


def _ignore_index(model: nn.Module) -> int:
    return getattr(last_head(model), 'ignore_index', 255)


def _void_labels(runner: Runner) -> Iterator[tuple[str, int | None]]:
    """Return the key and the label of void of each part that has its own."""
    model = runner.bare_model
    if runner.trains and hasattr(model.data_preprocessor, 'seg_pad_val'):
        yield 'model.data_preprocessor.seg_pad_val', model.data_preprocessor.seg_pad_val
    for name, loss in getattr(model, 'kd_losses', {}).items():
        if runner.trains and not loss.whole_maps:
            yield f'model.kd_losses.{name}.ignore_index', loss.ignore_index
    # A metric may count the class that the head leaves out.
    beyond = _ignore_index(model) >= _num_classes(model)
    for split, loop in runner.loops.items():
        for metric in loop.evaluator.metrics if split != 'train' and beyond else ():
            if not getattr(metric, 'format_only', False):
                yield f'{split}_evaluator.ignore_index', getattr(metric, 'ignore_index', None)


def _samples(batch: Any) -> Iterator[SegDataSample]:
    for item in batch.get('data_samples') or () if isinstance(batch, dict) else ():
        # Test-time augmentation gives a list of samples for each image.
        yield from item if isinstance(item, list | tuple) else [item]


def _check_labels(pixels: Tensor, path: str | None, known: int, ignored: int) -> None:
    """Raise UserError if an image has a label for which the model has no class."""
    beyond = [x for x in torch.nonzero(pixels).flatten().tolist() if x >= known and x != ignored]
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


def _check_not_needed(runner: Runner, mode: str, path: str | None) -> None:
    """Raise UserError for a sample without labels, unless predictions are only saved."""
    metrics = [] if mode == 'train' else getattr(runner, f'{mode}_loop').evaluator.metrics
    if metrics and all(getattr(metric, 'format_only', False) for metric in metrics):
        return
    to_save = '; to save predictions alone, write test_evaluator.format_only=True with --out DIR'
    raise UserError(
        f'{path}: has no labels; write data_prefix=dict(img_path=..., seg_map_path=...) and '
        f"dict(type='LoadAnnotations') in the pipeline{to_save if mode == 'test' else ''}"
    )
