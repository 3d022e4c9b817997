"""Compute segmentation metrics from one confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.dist import is_distributed
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from mmseg.registry import METRICS
from PIL import Image
from prettytable import PrettyTable
from torch import Tensor

from mmseg_kd.errors import UserError


@METRICS.register_module()
class SegmentationMetric(BaseMetric):
    """aAcc, mIoU and mAcc over all classes, and mIoU without the void class.

    All come from one confusion matrix over the whole split. If the data set has a void class
    (CamVid's `Unlabelled`), the mean without it is the published metric, `mIoU11` for CamVid:
    pixels labelled void are dropped, another class predicted as void still counts as wrong, and
    the mean is over the other classes (the evaluation script of Badrinarayanan et al., SegNet,
    TPAMI 2017). A class in neither labels nor predictions is left out of a mean.

    Keys, rounding and values are those of mmseg's `IoUMetric`.

    After an evaluation `confusion` holds the matrix (K, K), row = truth.

    Args:
        ignore_index: Label of ignored pixels.
        void_class: Name of the class that `mIoU{n}` leaves out.
        output_dir: Folder for the predictions as PNG files of class ids.
        format_only: Whether to only write the predictions; the data needs no labels then.
        collect_device: As for mmengine's `BaseMetric`; 'gpu' gathers through the process group on
            any device, 'cpu' would leave files in the current folder.
        prefix: As for mmengine's `BaseMetric`.
    """

    def __init__(
        self,
        ignore_index: int = 255,
        void_class: str = 'Unlabelled',
        output_dir: str | None = None,
        format_only: bool = False,
        collect_device: str = 'gpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.ignore_index = ignore_index
        self.void_class = void_class
        self.output_dir = Path(output_dir) if output_dir else None
        self.format_only = format_only
        self.confusion: Tensor | None = None

    @property
    def metric_names(self) -> list[str]:
        """Names of what an evaluation returns, known once `dataset_meta` is."""
        names = ['aAcc', 'mIoU', 'mAcc', f'mIoU{len(self._kept)}']
        prefix = f'{self.prefix}/' if self.prefix else ''
        return [] if self.format_only else [prefix + name for name in names]

    @property
    def _kept(self) -> list[int]:
        classes = self.dataset_meta['classes']
        return [i for i, name in enumerate(classes) if name != self.void_class]

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count true and predicted classes, on the device of the predictions."""
        num_classes = len(self.dataset_meta['classes'])
        for sample in data_samples:
            prediction = sample['pred_sem_seg']['data'].squeeze(0)
            if not self.format_only:
                label = sample['gt_sem_seg']['data'].squeeze(0)
                if label.shape != prediction.shape:
                    raise UserError(
                        f'{sample["img_path"]}: labels are {tuple(label.shape)}, the prediction '
                        f'is {tuple(prediction.shape)}: predictions come at the size of the file, '
                        'so move LoadAnnotations behind Resize in the pipeline'
                    )
                self._add(confusion_matrix(label, prediction, num_classes, self.ignore_index))
            if self.output_dir is not None:
                self._write(prediction, sample['img_path'])

    def evaluate(self, size: int) -> dict[str, float]:
        """Gather the counts of all processes and compute the metrics."""
        if self.results:
            self.results = list(torch.stack(self.results).cpu())
        return super().evaluate(size)

    def compute_metrics(self, results: list[Tensor]) -> dict[str, float]:
        """Sum the matrices, compute the metrics in percent and log the table of classes."""
        logger = MMLogger.get_current_instance()
        if self.format_only:
            logger.info(f'predictions are in {self.output_dir}')
            return {}
        classes = list(self.dataset_meta['classes'])
        matrix = sum(results).double()
        iou, accuracy = iou_and_accuracy(matrix)
        metrics = {
            'aAcc': matrix.diag().sum() / matrix.sum(),
            'mIoU': iou.nanmean(),
            'mAcc': accuracy.nanmean(),
        }
        kept = self._kept
        iou_without_void, _ = iou_and_accuracy(matrix, kept)
        metrics[f'mIoU{len(kept)}'] = iou_without_void.nanmean()
        metrics = {name: round(100 * float(value), 2) for name, value in metrics.items()}
        logger.info('\n' + _table(classes, iou, accuracy, kept, iou_without_void, metrics))
        self.confusion = matrix
        return metrics

    def _add(self, matrix: Tensor) -> None:
        if self.results and not is_distributed():
            self.results[0] += matrix
        else:
            # By image, because mmengine drops images that two processes have seen.
            self.results.append(matrix)

    def _write(self, prediction: Tensor, image_path: str) -> None:
        self.output_dir.mkdir(parents=True, exist_ok=True)
        ids = prediction.cpu().numpy().astype(np.uint8)
        Image.fromarray(ids).save(self.output_dir / f'{Path(image_path).stem}.png')


def confusion_matrix(
    label: Tensor, prediction: Tensor, num_classes: int, ignore_index: int = 255
) -> Tensor:
    """Count pixels by true and predicted class.

    Args:
        label: True ids (H, W), below num_classes or ignore_index, on any device.
        prediction: Predicted ids (H, W), all below num_classes.
        num_classes: Number of classes K.
        ignore_index: Label of pixels to leave out.

    Returns:
        Counts (K, K), int64, row = truth, column = prediction, on the device of the prediction.
    """
    # No masked selection and no bincount, because both make the host wait for the GPU.
    label = label.to(prediction.device, torch.int64)
    row = label.masked_fill(label == ignore_index, num_classes)
    index = (row * num_classes + prediction.long()).flatten()
    counts = index.new_zeros(num_classes + 1, num_classes)
    counts.view(-1).scatter_add_(0, index, index.new_ones(()).expand_as(index))
    return counts[:num_classes]


def iou_and_accuracy(matrix: Tensor, kept: Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
    """Compute intersection over union and recall of each class.

    Args:
        matrix: Confusion matrix (K, K), row = truth.
        kept: Classes to evaluate. Rows of the others are dropped; their columns stay, so that
            predicting one of them is an error.

    Returns:
        IoU and accuracy of the kept classes, NaN for a class that does not occur.
    """
    kept = list(range(len(matrix))) if kept is None else list(kept)
    rows = matrix[kept]
    hit = rows[:, kept].diag()
    truth = rows.sum(dim=1)
    return hit / (truth + rows[:, kept].sum(dim=0) - hit), hit / truth


def _table(
    classes: list[str],
    iou: Tensor,
    accuracy: Tensor,
    kept: list[int],
    iou_without_void: Tensor,
    metrics: dict[str, float],
) -> str:
    void_free = dict(zip(kept, iou_without_void.tolist(), strict=True))
    names = list(metrics)
    table = PrettyTable(['class', 'IoU', 'Acc', f'IoU {len(kept)}'])
    table.align = 'r'
    table.align['class'] = 'l'
    for i, name in enumerate(classes):
        row = (float(iou[i]), float(accuracy[i]), void_free.get(i))
        cells = ('-' if x is None or x != x else f'{100 * x:.2f}' for x in row)
        table.add_row([name, *cells], divider=i == len(classes) - 1)
    mean = [f'{metrics[name]:.2f}' for name in ('mIoU', 'mAcc', names[-1])]
    table.add_row(['mean', *mean])
    return f'{table.get_string()}\naAcc {metrics["aAcc"]:.2f}'
