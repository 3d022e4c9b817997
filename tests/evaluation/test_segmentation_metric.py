from pathlib import Path

import numpy as np
import pytest
import torch
from mmseg.evaluation import IoUMetric
from PIL import Image
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from mmseg_kd.datasets import CamVidDataset
from mmseg_kd.errors import UserError
from mmseg_kd.evaluation import SegmentationMetric
from mmseg_kd.evaluation.segmentation_metric import confusion_matrix

META = dict(CamVidDataset.METAINFO)


def samples(labels: torch.Tensor, predictions: torch.Tensor) -> list[dict]:
    return [
        dict(
            pred_sem_seg=dict(data=p[None]), gt_sem_seg=dict(data=g[None]), img_path=f'a/{i:02}.png'
        )
        for i, (g, p) in enumerate(zip(labels, predictions, strict=True))
    ]


def evaluate(
    labels: torch.Tensor, predictions: torch.Tensor, meta: dict = META, **kw: object
) -> dict:
    metric = SegmentationMetric(**kw)
    metric.dataset_meta = meta
    # In two batches: the metrics are of the whole split, not means over batches.
    for part in (slice(0, 1), slice(1, None)):
        metric.process({}, samples(labels[part], predictions[part]))
    return metric.evaluate(len(labels))


@pytest.fixture
def maps() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 12, (4, 30, 40), generator=generator)
    wrong = torch.randint(0, 12, (4, 30, 40), generator=generator)
    predictions = torch.where(torch.rand(4, 30, 40, generator=generator) < 0.6, labels, wrong)
    labels[:, :3] = 255
    return labels, predictions


def test_against_torchmetrics(maps: tuple) -> None:
    labels, predictions = maps
    got = evaluate(labels, predictions)
    iou = MulticlassJaccardIndex(12, ignore_index=255)(predictions, labels)
    recall = MulticlassAccuracy(12, ignore_index=255, average='macro')(predictions, labels)
    overall = MulticlassAccuracy(12, ignore_index=255, average='micro')(predictions, labels)
    assert got['mIoU'] == pytest.approx(100 * float(iou), abs=0.006)
    assert got['mAcc'] == pytest.approx(100 * float(recall), abs=0.006)
    assert got['aAcc'] == pytest.approx(100 * float(overall), abs=0.006)
    # The published figure: void truth dropped, a prediction of void stays wrong.
    without_void = labels.where(labels != 11, 255)
    each = MulticlassJaccardIndex(12, ignore_index=255, average=None)(predictions, without_void)
    assert got['mIoU11'] == pytest.approx(100 * float(each[:11].mean()), abs=0.006)


def test_same_figures_as_mmseg(maps: tuple) -> None:
    labels, predictions = maps
    stock = IoUMetric()
    stock.dataset_meta = META
    stock.process({}, samples(labels, predictions))
    reference = stock.evaluate(len(labels))
    got = evaluate(labels, predictions)
    for name in ('aAcc', 'mIoU', 'mAcc'):
        assert got[name] == pytest.approx(float(reference[name]), abs=0.011)


def test_by_hand() -> None:
    # Sky 0, Building 1, Unlabelled 11; six pixels.
    labels = torch.tensor([[[0, 0, 1, 1, 11, 11]]])
    predictions = torch.tensor([[[0, 11, 1, 1, 1, 11]]])
    got = evaluate(labels, predictions)
    # IoU of 12: sky 1/2, building 2/3, void 1/3; of 11: sky 1/2 (void is a miss), building 1.
    assert got['mIoU'] == pytest.approx(100 * (1 / 2 + 2 / 3 + 1 / 3) / 3, abs=0.006)
    assert got['mIoU11'] == pytest.approx(100 * (1 / 2 + 1) / 2, abs=0.006)
    assert got['mAcc'] == pytest.approx(100 * (1 / 2 + 1 + 1 / 2) / 3, abs=0.006)
    assert got['aAcc'] == pytest.approx(100 * 4 / 6, abs=0.006)


def test_eleven_classes_have_one_mean() -> None:
    meta = dict(classes=META['classes'][:11], palette=META['palette'][:11])
    labels = torch.tensor([[[0, 0, 1, 255]]])
    got = evaluate(labels, torch.tensor([[[0, 1, 1, 5]]]), meta)
    assert got['mIoU11'] == got['mIoU'] == 50


def test_predictions_are_written_as_ids(tmp_path: Path) -> None:
    predictions = torch.randint(0, 12, (2, 5, 7))
    metric = SegmentationMetric(output_dir=str(tmp_path))
    metric.dataset_meta = META
    metric.process({}, samples(torch.zeros(2, 5, 7, dtype=torch.long), predictions))
    for i in range(2):
        with Image.open(tmp_path / f'{i:02}.png') as image:
            assert np.array_equal(np.asarray(image), predictions[i].numpy())


@pytest.mark.parametrize(
    ('ignore_index', 'dtype'),
    [(255, torch.uint8), (255, torch.int64), (-100, torch.int64), (3, torch.uint8)],
)
def test_pixels_are_counted(ignore_index: int, dtype: torch.dtype) -> None:
    labels, predictions = torch.randint(0, 4, (2, 9, 11))
    labels[2] = ignore_index
    expected = torch.zeros(4, 4, dtype=torch.long)
    for true, predicted in zip(labels.flatten(), predictions.flatten(), strict=True):
        if true != ignore_index:
            expected[true, predicted] += 1
    got = confusion_matrix(labels.to(dtype), predictions, 4, ignore_index)
    assert torch.equal(got, expected)


def test_one_matrix_for_all_images(maps: tuple) -> None:
    labels, predictions = maps
    metric = SegmentationMetric()
    metric.dataset_meta = META
    for i in range(len(labels)):
        metric.process({}, samples(labels[i : i + 1], predictions[i : i + 1]))
    assert len(metric.results) == 1
    metric.evaluate(len(labels))
    assert metric.confusion.sum() == (labels != 255).sum()
    # Nothing is left for the next evaluation.
    assert not metric.results


def test_labels_of_another_size_are_named() -> None:
    metric = SegmentationMetric()
    metric.dataset_meta = META
    labels, predictions = torch.zeros(1, 4, 6, dtype=torch.long), torch.zeros(1, 8, 6).long()
    message = r'0\.\w+: labels are \(4, 6\), .* \(8, 6\): .* move LoadAnnotations behind Resize'
    with pytest.raises(UserError, match=message):
        metric.process({}, samples(labels, predictions))
