"""Metrics of edges and calibration, against loops over the pixels."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mmseg_kd.datasets import CamVidDataset
from mmseg_kd.errors import UserError
from mmseg_kd.evaluation import SegmentationMetric

ALL = ['mIoU', 'mBoundaryIoU', 'mTrimapIoU', 'mJunctionIoU', 'ECE']
CLASSES = 12
VOID = (11, 255)
Images = list[tuple[np.ndarray, np.ndarray, np.ndarray]]


def image(seed: int, size: tuple[int, int], blocks: int = 4, classes: int = CLASSES) -> tuple:
    """Labels in blocks with void ones, predictions of which a fifth is wrong, and logits."""
    rng = np.random.default_rng(seed)
    grid = rng.choice([*range(classes), 255], [side // blocks + 1 for side in size])
    label = np.kron(grid, np.ones((blocks, blocks), int))[: size[0], : size[1]]
    logits = rng.normal(size=(CLASSES, *size)).astype(np.float32)
    hit = rng.random(size) < 0.8
    np.put_along_axis(logits, np.where(label == 255, 0, label)[None], 5.0 * hit[None], axis=0)
    return label, logits.argmax(axis=0), logits


CASES = {
    'several': [image(seed, (23, 31)) for seed in range(3)],
    'distance of 2': [image(3, (60, 80), blocks=9)],
    'single pixels': [image(4, (9, 14), blocks=1)],
    'two classes': [image(5, (20, 12), classes=2)],
    'one pixel': [image(6, (1, 1))],
    'one row': [image(7, (1, 17), blocks=3), image(8, (5, 2), blocks=2)],
    'void': [(np.full((6, 7), 255), *image(9, (6, 7))[1:]), image(9, (6, 7))],
    'all predicted void': [(image(10, (8, 8))[0], np.full((8, 8), 11), image(10, (8, 8))[2])],
}


def evaluate(images: Images, **settings: object) -> tuple[dict[str, float], SegmentationMetric]:
    metric = SegmentationMetric(iou_metrics=ALL, **settings)
    metric.dataset_meta = CamVidDataset.METAINFO
    for number, (label, prediction, logits) in enumerate(images):
        sample = dict(
            gt_sem_seg=dict(data=torch.from_numpy(label.astype(np.int64))[None]),
            pred_sem_seg=dict(data=torch.from_numpy(prediction.astype(np.int64))[None]),
            seg_logits=dict(data=torch.from_numpy(logits)),
            img_path=f'{number}.png',
        )
        metric.process({}, [sample])
    return metric.evaluate(len(images)), metric


def window(ids: np.ndarray, y: int, x: int, distance: int) -> list[int]:
    """Ids around a pixel; -1 outside of the image."""
    height, width = ids.shape
    places = range(-distance, distance + 1)
    return [
        int(ids[y + dy, x + dx]) if 0 <= y + dy < height and 0 <= x + dx < width else -1
        for dy in places
        for dx in places
    ]


def on_rim(ids: np.ndarray, y: int, x: int) -> bool:
    distance = max(1, round(0.02 * math.sqrt(ids.shape[0] ** 2 + ids.shape[1] ** 2)))
    return set(window(ids, y, x, distance)) != {int(ids[y, x])}


def classes_near(label: np.ndarray, y: int, x: int, distance: int) -> int:
    return len(set(window(label, y, x, distance)) - {-1, *VOID})


def mean_iou(images: Images, near: Callable[[np.ndarray, int, int], bool], both: bool) -> float:
    """Mean IoU of the pixels that are near an edge: of the labels, or each map of its own."""
    right, union = [0] * CLASSES, [0] * CLASSES
    for label, prediction, _ in images:
        seen = prediction.copy()
        for y, x in np.ndindex(label.shape):
            if label[y, x] in VOID:
                seen[y, x] = 255
        label = np.where(np.isin(label, VOID), 255, label)
        for y, x in np.ndindex(label.shape):
            if label[y, x] == 255:
                continue
            true = label[y, x] if near(label, y, x) else None
            ids = seen if both else label
            predicted = seen[y, x] if near(ids, y, x) else None
            for i in {true, predicted} - {None}:
                union[i] += 1
            if true is not None and true == predicted:
                right[true] += 1
    ious = [r / u for r, u in list(zip(right, union, strict=True))[:11] if u]
    return 100 * sum(ious) / len(ious) if ious else math.nan


def calibration_error(images: Images) -> float:
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(15)]
    for label, prediction, logits in images:
        for y, x in np.ndindex(label.shape):
            if label[y, x] not in VOID:
                powers = [math.exp(value) for value in logits[:, y, x].astype(float)]
                confidence = max(powers) / sum(powers)
                number = next(i for i in range(15) if confidence <= (i + 1) / 15)
                bins[number].append((confidence, label[y, x] == prediction[y, x]))
    pixels = sum(map(len, bins))
    gaps = (abs(sum(right - confidence for confidence, right in part)) for part in bins)
    return 100 * sum(gaps) / pixels if pixels else math.nan


@pytest.mark.parametrize('case', CASES)
def test_against_loops(case: str) -> None:
    images = CASES[case]
    found, metric = evaluate(images)
    expected = {
        'mBoundaryIoU': mean_iou(images, on_rim, both=True),
        'mJunctionIoU': mean_iou(images, lambda m, y, x: classes_near(m, y, x, 2) > 2, both=False),
        'ECE': calibration_error(images),
    }
    for width in (1, 3, 5):
        expected[f'mTrimapIoU{width}'] = mean_iou(
            images, lambda m, y, x, w=width: classes_near(m, y, x, w) > 1, both=False
        )
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=0.006, nan_ok=True), name
    assert list(found) == metric.metric_names


def test_what_they_see() -> None:
    # Two halves; the edge is predicted 2 pixels too far to the right.
    label = np.repeat([[0] * 20 + [1] * 20], 30, axis=0)
    prediction = np.repeat([[0] * 22 + [1] * 18], 30, axis=0)
    found, _ = evaluate([(label, prediction, np.zeros((CLASSES, 30, 40), np.float32))])
    # The IoU in bands of 1, 3 and 5 pixels on both sides.
    for width, wrong in ((1, 1), (3, 2), (5, 2)):
        first, second = width / (width + wrong), (width - wrong) / width
        assert found[f'mTrimapIoU{width}'] == pytest.approx(50 * (first + second), abs=0.006)
    assert found['mIoU11'] == pytest.approx(50 * (20 / 22 + 18 / 20), abs=0.006)
    assert found['mBoundaryIoU'] < found['mIoU11']
    assert math.isnan(found['mJunctionIoU'])


def test_a_row_for_each_image(tmp_path: Path) -> None:
    images = CASES['several'] + CASES['void']
    file = tmp_path / 'images.csv'
    together, _ = evaluate(images, per_image=str(file))
    assert together == pytest.approx(evaluate(images)[0], nan_ok=True)
    rows = list(csv.DictReader(file.open(encoding='utf-8-sig', newline='')))
    assert [row['image'] for row in rows] == [f'{i}.png' for i in range(len(images))]
    for one, row in zip(images, rows, strict=True):
        for name, value in evaluate([one])[0].items():
            assert row[name] == ('' if math.isnan(value) else str(value))
        label, prediction, _ = one
        sky, other = (label == 0), (prediction == 0) & (label != 255)
        union = (sky | other).sum()
        assert row['IoU Sky'] == (str(round(100 * (sky & other).sum() / union, 2)) if union else '')


def test_they_are_off_unless_asked_for() -> None:
    metric = SegmentationMetric()
    metric.dataset_meta = CamVidDataset.METAINFO
    assert metric.metric_names == ['aAcc', 'mIoU', 'mAcc', 'mIoU11']
    with pytest.raises(ValueError, match="iou_metrics: 'mDice' is not one of mIoU, mBoundaryIoU"):
        SegmentationMetric(iou_metrics=['mIoU', 'mDice'])


def test_calibration_needs_logits() -> None:
    metric = SegmentationMetric(iou_metrics=['ECE'])
    metric.dataset_meta = CamVidDataset.METAINFO
    ids = dict(data=torch.zeros(1, 4, 4, dtype=torch.long))
    with pytest.raises(UserError, match=r"a\.png: has no logits.* leave 'ECE' out of iou_metrics"):
        metric.process({}, [dict(gt_sem_seg=ids, pred_sem_seg=ids, img_path='a.png')])
