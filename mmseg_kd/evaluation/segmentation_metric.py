"""Compute segmentation metrics from one confusion matrix."""

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

from mmseg_kd.checkpoints.atomic import write_csv
from mmseg_kd.errors import UserError
from mmseg_kd.evaluation.calibration import pixel_statistics, summarise
from mmseg_kd.evaluation.edges import BANDS, IGNORED, edge_counts

EDGES = ('mBoundaryIoU', 'mTrimapIoU', 'mJunctionIoU')
OPTIONS = ('mIoU', *EDGES, 'ECE')


@METRICS.register_module()
class SegmentationMetric(BaseMetric):
    """aAcc, mIoU and mAcc over all classes, and mIoU without the void class.

    All come from one confusion matrix over the whole split. If the data set has a void class
    (CamVid's `Unlabelled`), the mean without it is the published metric, `mIoU11` for CamVid:
    pixels labelled void are dropped, another class predicted as void still counts as wrong, and
    the mean is over the other classes (the evaluation script of Badrinarayanan et al., SegNet,
    TPAMI 2017). A class in neither labels nor predictions is left out of a mean.

    Keys, rounding and values are those of mmseg's `IoUMetric`.

    `iou_metrics` can add metrics near edges (`mmseg_kd.evaluation.edges`): boundary IoU, and the
    mIoU in trimaps of 1, 3 and 5 pixels and at junctions of three classes. It can also add the
    expected calibration error. These metrics leave the void class out.

    After an evaluation `confusion` holds the matrix (K, K), row = truth.

    Args:
        ignore_index: Label of ignored pixels.
        iou_metrics: 'mIoU', and what to add: 'mBoundaryIoU', 'mTrimapIoU', 'mJunctionIoU', 'ECE'.
        void_class: Name of the class that `mIoU{n}` leaves out.
        output_dir: Folder for the predictions as PNG files of class ids.
        per_image: CSV file with the metrics of each image, and the IoU of its classes.
        format_only: Whether to only write the predictions; the data needs no labels then.

    Raises:
        ValueError: A metric is not one of these.
    """

    def __init__(
        self,
        ignore_index: int = 255,
        iou_metrics: Sequence[str] = ('mIoU',),
        void_class: str = 'Unlabelled',
        output_dir: str | None = None,
        per_image: str | None = None,
        format_only: bool = False,
    ) -> None:
        # 'gpu' uses the process group, on any device; 'cpu' writes files to the current folder.
        super().__init__(collect_device='gpu')
        self.ignore_index = ignore_index
        self.iou_metrics = [iou_metrics] if isinstance(iou_metrics, str) else list(iou_metrics)
        for name in self.iou_metrics:
            if name not in OPTIONS:
                raise ValueError(f'iou_metrics: {name!r} is not one of {", ".join(OPTIONS)}')
        self.void_class = void_class
        self.output_dir = Path(output_dir) if output_dir else None
        self.per_image = per_image
        self.format_only = format_only
        self.confusion: Tensor | None = None
        # The path of each image, by the name of its saved prediction.
        self._saved: dict[str, str] = {}

    @property
    def metric_names(self) -> list[str]:
        """Names of the metrics that an evaluation returns; `dataset_meta` must be set."""
        names = ['aAcc', 'mIoU', 'mAcc', f'mIoU{len(self._kept)}']
        for name in OPTIONS[1:]:
            if name in self.iou_metrics:
                names += [f'{name}{x}' for x in (BANDS if name == 'mTrimapIoU' else ('',))]
        return [] if self.format_only else names

    @property
    def _kept(self) -> list[int]:
        return [i for i, name in enumerate(self.dataset_meta['classes']) if name != self.void_class]

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count true and predicted classes, on the device of the predictions."""
        for sample in data_samples:
            prediction = sample['pred_sem_seg']['data'].squeeze(0)
            if self.output_dir is not None:
                self.output_dir.mkdir(parents=True, exist_ok=True)
                path = sample['img_path']
                other = self._saved.setdefault(Path(path).stem.lower(), path)
                if other != path:
                    raise UserError(f'{path} and {other} would be saved under one name; rename one')
                ids = Image.fromarray(prediction.cpu().numpy().astype(np.uint8))
                ids.save(self.output_dir / f'{Path(path).stem}.png')
            if self.format_only:
                continue
            label = sample['gt_sem_seg']['data'].squeeze(0)
            if label.shape != prediction.shape:
                raise UserError(
                    f'{sample["img_path"]}: labels are {tuple(label.shape)}, the prediction is '
                    f'{tuple(prediction.shape)}: predictions come at the size of the file, so '
                    'move LoadAnnotations behind Resize in the pipeline'
                )
            counts = self._count(sample, label, prediction)
            # One result per image for the CSV file, and for mmengine, which drops images that two
            # processes evaluated.
            if self.per_image is not None or is_distributed():
                on_cpu = {name: count.cpu() for name, count in counts.items()}
                self.results.append((sample.get('img_path', ''), on_cpu))
            elif self.results:
                for name, count in counts.items():
                    self.results[0][1][name] += count
            else:
                self.results.append(('', counts))

    def _count(self, sample: dict, label: Tensor, prediction: Tensor) -> dict[str, Tensor]:
        num_classes = len(self.dataset_meta['classes'])
        counts = dict(confusion=confusion_matrix(label, prediction, num_classes, self.ignore_index))
        edges = [name for name in EDGES if name in self.iou_metrics]
        if edges or 'ECE' in self.iou_metrics:
            dropped = {self.ignore_index} | set(range(num_classes)) - set(self._kept)
            label = np.where(np.isin(label.cpu(), [*dropped]), IGNORED, label.cpu())
            ids = prediction.cpu().numpy().astype(np.uint8)
            for name in edges:
                counts |= edge_counts(label.astype(np.uint8), ids, num_classes, name)
        if 'ECE' in self.iou_metrics:
            if 'seg_logits' not in sample:
                raise UserError(
                    f'{sample.get("img_path", "a prediction")}: has no logits, as with --tta and '
                    "with saved predictions; leave 'ECE' out of iou_metrics"
                )
            logits, truth = sample['seg_logits']['data'], torch.from_numpy(label)
            counts['ECE'] = pixel_statistics(logits, prediction, truth, IGNORED)
        return {name: torch.as_tensor(count) for name, count in counts.items()}

    def compute_metrics(self, results: list[tuple[str, dict[str, Tensor]]]) -> dict[str, float]:
        """Sum the counts, compute the metrics in percent and log the table of classes."""
        logger = MMLogger.get_current_instance()
        if self.format_only:
            logger.info(f'predictions are in {self.output_dir}')
            return {}
        total = {name: sum(counts[name] for _, counts in results) for name in results[0][1]}
        metrics, columns = self._scores(total)
        logger.info('\n' + _table(self.dataset_meta['classes'], columns, metrics))
        if self.per_image is not None:
            self._write_per_image(results)
        self.confusion = total['confusion'].double()
        return metrics

    def _scores(self, counts: dict[str, Tensor]) -> tuple[dict[str, float], dict[str, Tensor]]:
        """Compute the metrics in percent, and for those that are means the values by class (K,)."""
        matrix, kept = counts['confusion'].double(), self._kept
        columns = dict(zip(('mIoU', 'mAcc'), iou_and_accuracy(matrix), strict=True))
        without_void = matrix.new_full((len(matrix),), torch.nan)
        without_void[kept], _ = iou_and_accuracy(matrix, kept)
        columns[f'mIoU{len(kept)}'] = without_void
        for name, count in counts.items():
            if name.startswith(EDGES):
                right, true, predicted = count.double()
                columns[name] = torch.full_like(without_void, torch.nan)
                columns[name][kept] = (right / (true + predicted - right))[kept]
        values = {'aAcc': matrix.diag().sum() / matrix.sum()}
        values |= {name: column.nanmean() for name, column in columns.items()}
        if 'ECE' in counts:
            _, error = summarise(counts['ECE'])
            values['ECE'] = torch.nan if error is None else error
        metrics = {name: round(100 * float(x), 2) for name, x in values.items()}
        return metrics, {name: 100 * column for name, column in columns.items()}

    def _write_per_image(self, results: list[tuple[str, dict[str, Tensor]]]) -> None:
        rows = []
        for path, counts in results:
            metrics, columns = self._scores(counts)
            # A class that an image does not have is an empty cell.
            values = (*metrics.values(), *columns['mIoU'].tolist())
            rows.append([path, *('' if x != x else round(x, 2) for x in values)])
        header = ['image', *metrics, *(f'IoU {name}' for name in self.dataset_meta['classes'])]
        write_csv(self.per_image, [header, *rows])


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


def _table(classes: Sequence[str], columns: dict[str, Tensor], metrics: dict[str, float]) -> str:
    table = PrettyTable(['class', *(name.removeprefix('m') for name in columns)], align='r')
    table.align['class'] = 'l'
    for i, name in enumerate(classes):
        cells = ('-' if x != x else f'{x:.2f}' for x in (float(c[i]) for c in columns.values()))
        table.add_row([name, *cells], divider=i == len(classes) - 1)
    table.add_row(['mean', *(f'{metrics[name]:.2f}' for name in columns)])
    others = (f'{name} {x:.2f}' for name, x in metrics.items() if name not in columns)
    return f'{table.get_string()}\n{"  ".join(others)}'
