"""Class scores and confusion matrix of one evaluation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import torch

from mmseg_kd.evaluation.segmentation_metric import iou_and_accuracy


@dataclass(frozen=True)
class ClassScores:
    """Scores of the classes in an evaluation.

    Attributes:
        iteration: Iteration of the evaluation.
        iou: IoU by class in percent; NaN if a class does not occur.
        confusion: Pixels (K, K) by true and predicted class; None if only the log is left.
    """

    iteration: int
    iou: Mapping[str, float]
    confusion: np.ndarray | None = None


def class_scores(record: Mapping[str, Any]) -> ClassScores:
    """Return the scores of a line of `confusion.jsonl`."""
    matrix = np.array(record['matrix'], dtype=float)
    iou, _ = iou_and_accuracy(torch.from_numpy(matrix))
    return ClassScores(
        record['iter'],
        dict(zip(record['classes'], (100 * iou).tolist(), strict=True)),
        matrix,
    )


def mean_class_iou(scores: Sequence[ClassScores]) -> dict[str, float]:
    """Return the mean IoU of each class over the runs that have it, in percent; NaN without any."""
    names = list(dict.fromkeys(name for row in scores for name in row.iou))
    means = {}
    for name in names:
        there = [v for v in (row.iou.get(name, math.nan) for row in scores) if math.isfinite(v)]
        means[name] = fmean(there) if there else math.nan
    return means
