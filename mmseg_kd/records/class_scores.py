"""`confusion.jsonl`: the confusion matrix of every evaluation, and the class scores it gives."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import torch

from mmseg_kd.evaluation.segmentation_metric import iou_and_accuracy
from mmseg_kd.records.json_lines import NUMBER, fits, read_json_lines

FORM = {'iter': int, 'classes': [str], 'matrix': [[NUMBER]]}


class ClassScores(NamedTuple):
    """Scores of the classes in an evaluation.

    Attributes:
        iou: IoU by class in percent, as in the mIoU without void; NaN for void, and for a class
            that does not occur.
        confusion: Pixels (K, K) by true and predicted class; None if unknown.
    """

    iou: Mapping[str, float]
    confusion: np.ndarray | None = None


def read_confusions(file: str | Path) -> list[dict[str, Any]]:
    """Return the records of `confusion.jsonl` by iteration; the last line of an iteration counts.

    Damaged lines, as after a kill or a power cut, are left out.
    """
    records = {record['iter']: record for record in read_json_lines(file)[0] if _is_whole(record)}
    return [records[iteration] for iteration in sorted(records)]


def _is_whole(record: dict[str, Any]) -> bool:
    if not fits(record, FORM):
        return False
    size = len(set(record['classes']))
    return [len(row) for row in record['matrix']] == [size] * len(record['classes']) != []


def read_class_scores(file: Path, rows: Iterable[dict[str, Any]]) -> dict[int, ClassScores]:
    """Return the scores of every evaluation, by iteration.

    Args:
        file: `confusion.jsonl`; it need not exist.
        rows: The logged rows; mmseg 0.x logs the IoU of a class as `IoU.NAME`.
    """
    found = {}
    for row in rows:
        if iou := {key[4:]: value for key, value in row.items() if key.startswith('IoU.')}:
            found[row['step']] = ClassScores(iou)
    for record in read_confusions(file):
        matrix, names = np.array(record['matrix'], dtype=float), record['classes']
        kept = [i for i, name in enumerate(names) if name != record.get('void')]
        iou = np.full(len(names), np.nan)
        iou[kept] = 100 * iou_and_accuracy(torch.from_numpy(matrix), kept)[0]
        found[record['iter']] = ClassScores(dict(zip(names, iou.tolist(), strict=True)), matrix)
    return found


def mean_class_iou(scores: Sequence[ClassScores]) -> dict[str, float]:
    """Return the mean IoU of each class over the runs that have it, in percent; NaN without any."""
    found: dict[str, list[float]] = {}
    for row in scores:
        for name, iou in row.iou.items():
            found.setdefault(name, []).extend([iou] if math.isfinite(iou) else [])
    return {name: fmean(values) if values else math.nan for name, values in found.items()}
