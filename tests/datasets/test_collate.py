"""A batch arrives as it was sent."""

from __future__ import annotations

import pickle
import threading
from functools import partial

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import FUNCTIONS
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch.utils.data import DataLoader

from mmseg_kd.datasets import ToyCamVidDataset, collate
from mmseg_kd.datasets.collate import byte_label_collate, end_with_lost_batches

PIPELINE = [dict(type='LoadToyScene'), dict(type='PackSegInputs')]


def test_registered():
    # The second name is that of older configs.
    for name in ('byte_label_collate', 'one_piece_collate'):
        assert FUNCTIONS.get(name) is byte_label_collate


def test_without_workers_it_is_the_batch():
    labels = PixelData(data=torch.ones(1, 2, 2).long())
    samples = [dict(inputs=torch.arange(3), data_samples=SegDataSample(gt_sem_seg=labels))]
    batch = byte_label_collate(samples)
    assert type(batch) is dict and batch['inputs'][0] is samples[0]['inputs']


@pytest.mark.parametrize('context', ['fork', 'spawn'])
def test_batches_of_a_worker(context):
    if context not in torch.multiprocessing.get_all_start_methods():
        pytest.skip(f'no {context} here')
    dataset = ToyCamVidDataset(num_images=5, size=(64, 48), pipeline=PIPELINE)
    expected = list(DataLoader(dataset, 2, collate_fn=pseudo_collate))
    loader = DataLoader(
        dataset, 2, collate_fn=byte_label_collate, num_workers=1, multiprocessing_context=context
    )
    batches = list(loader)
    assert [len(batch['inputs']) for batch in batches] == [2, 2, 1]
    for batch, wanted in zip(batches, expected, strict=True):
        assert batch.keys() == wanted.keys()
        for image, other in zip(batch['inputs'], wanted['inputs'], strict=True):
            assert image.dtype == torch.uint8 and torch.equal(image, other)
        for data, other in zip(batch['data_samples'], wanted['data_samples'], strict=True):
            assert isinstance(data, SegDataSample) and data.metainfo == other.metainfo
            assert data.gt_sem_seg.data.dtype == torch.int64
            assert torch.equal(data.gt_sem_seg.data, other.gt_sem_seg.data)
        # The tensors can be changed and do not overlap.
        batch['inputs'][0].zero_()
        labels = batch['data_samples'][0].gt_sem_seg.data
        assert torch.equal(labels, wanted['data_samples'][0].gt_sem_seg.data)


def test_samples_without_labels_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collate, 'get_worker_info', lambda: 'a worker')
    batch = byte_label_collate([dict(data_samples=SegDataSample(metainfo=dict(img_path='a.png')))])
    (received,) = pickle.loads(pickle.dumps(batch))['data_samples']
    assert received.img_path == 'a.png' and 'gt_sem_seg' not in received


@pytest.mark.parametrize('values', [[0, 255], [0, 256], [-100, 3]], ids=str)
def test_labels_are_sent_as_bytes_where_they_fit(
    values: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collate, 'get_worker_info', lambda: 'a worker')
    labels = PixelData(data=torch.tensor([[values]]))
    batch = byte_label_collate([dict(data_samples=SegDataSample(gt_sem_seg=labels.clone()))])
    (sent,) = getattr(batch, 'batch', batch)['data_samples']
    fits = min(values) >= 0 and max(values) <= 255
    assert sent.gt_sem_seg.data.dtype == (torch.uint8 if fits else torch.int64)
    received = pickle.loads(pickle.dumps(batch))['data_samples'][0].gt_sem_seg.data
    assert received.dtype == torch.int64 and torch.equal(received, labels.data)


class Unsendable:
    """An item that a worker cannot send, as when the shared memory is full."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> object:
        return threading.Lock()


def test_a_batch_that_cannot_be_sent_ends_the_training(capfd: pytest.CaptureFixture) -> None:
    initialise = partial(end_with_lost_batches, int)
    loader = DataLoader(
        Unsendable(), num_workers=1, collate_fn=list, worker_init_fn=initialise, timeout=60
    )
    with pytest.raises(RuntimeError, match='exited unexpectedly'):
        next(iter(loader))
    assert 'a worker of a data loader cannot send a batch: cannot pickle' in capfd.readouterr().out
