"""Scores of predictions in a folder."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import tiny_config
from mmengine.dataset import BaseDataset
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_kd.errors import UserError
from mmseg_kd.evaluation import SegmentationMetric
from mmseg_kd.evaluation.saved_predictions import score_saved, worst_confusions


@pytest.fixture
def dataset(tmp_path: Path) -> BaseDataset:
    """Two generated scenes."""
    return DATASETS.build(tiny_config(tmp_path / 'run').test_dataloader.dataset)


@pytest.fixture
def folder(tmp_path: Path, dataset: BaseDataset) -> Path:
    """Their labels as predictions, with the road (3) taken for pavement (4)."""
    folder = tmp_path / 'predictions'
    folder.mkdir()
    for i in range(len(dataset)):
        labels = dataset[i]['data_samples'].gt_sem_seg.data[0].numpy().astype(np.uint8)
        labels[labels == 3] = 4
        Image.fromarray(labels).save(folder / f'{i:04d}.png')
    return folder


def test_one_confusion(dataset: BaseDataset, folder: Path) -> None:
    metric = SegmentationMetric()
    metrics = score_saved(dataset, folder, metric)
    matrix = metric.confusion.long().numpy()
    labels = np.stack([dataset[i]['data_samples'].gt_sem_seg.data[0] for i in range(2)])
    counts = np.bincount(labels.flatten(), minlength=12)
    assert matrix.sum() == 2 * 120 * 160
    assert matrix[3, 4] == counts[3] > 0
    assert np.array_equal(matrix.sum(axis=1), counts)
    assert np.count_nonzero(matrix - np.diag(matrix.diagonal())) == 1
    assert metrics['aAcc'] == pytest.approx(100 - 100 * counts[3] / counts.sum(), abs=0.01)
    assert worst_confusions(matrix, dataset.metainfo['classes']) == [('Road', 'Pavement', 1.0)]


def test_the_rows_of_images_have_their_names(dataset: BaseDataset, folder: Path) -> None:
    """A `per_image` in the config also applies to saved predictions."""
    file = folder.parent / 'images.csv'
    score_saved(dataset, folder, SegmentationMetric(per_image=str(file)))
    rows = csv.DictReader(file.open(encoding='utf-8-sig', newline=''))
    assert [Path(row['image']).stem for row in rows] == ['0000', '0001']


def test_two_images_of_one_name_are_refused(dataset: BaseDataset, folder: Path) -> None:
    info = dataset.get_data_info
    dataset.get_data_info = lambda i: info(i) | dict(img_path=f'{i}/same.png')
    with pytest.raises(UserError, match='same: two images have this name'):
        score_saved(dataset, folder, SegmentationMetric())
    metric = SegmentationMetric(output_dir=str(folder.parent / 'saved'), format_only=True)
    ids = dict(data=torch.zeros(1, 4, 4, dtype=torch.uint8))
    samples = [dict(pred_sem_seg=ids, img_path=f'{i}/same.png') for i in (0, 1, 1)]
    metric.process({}, samples[:1])
    with pytest.raises(
        UserError, match=r'1/same\.png and 0/same\.png would be saved under one name'
    ):
        metric.process({}, samples[1:])


def test_predictions_that_do_not_fit(dataset: BaseDataset, folder: Path) -> None:
    def refused(message: str) -> None:
        with pytest.raises(UserError, match=message):
            score_saved(dataset, folder, SegmentationMetric())

    file = folder / '0001.png'
    good = np.asarray(Image.open(file))
    Image.fromarray(good[:60]).save(file)
    refused('is 160x60, but the labels are 160x120')
    Image.fromarray(good + 9).save(file)
    refused(r'the value 20, but a mask is one channel of the ids 0\.\.11')
    Image.fromarray(np.stack([good] * 3, axis=-1)).save(file)
    refused(r'3 channels \(RGB\)')
    file.write_bytes(file.read_bytes()[:60])
    refused('is not an image or not a whole one')
    file.unlink()
    refused('1 of 2 images have no prediction')
