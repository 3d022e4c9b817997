"""A batch arrives as it was sent."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import FUNCTIONS
from mmseg.structures import SegDataSample
from torch.utils.data import DataLoader

from mmseg_kd.datasets import ToyCamVidDataset, collate
from mmseg_kd.datasets.collate import _OnePiece, one_piece_collate

PIPELINE = [dict(type='LoadToyScene'), dict(type='PackSegInputs')]


def test_registered():
    assert FUNCTIONS.get('one_piece_collate') is one_piece_collate


def test_without_workers_it_is_the_batch():
    samples = [dict(inputs=torch.arange(3))]
    batch = one_piece_collate(samples)
    assert type(batch) is dict and batch['inputs'][0] is samples[0]['inputs']


@pytest.mark.parametrize('context', ['fork', 'spawn'])
def test_batches_of_a_worker(context):
    if context not in torch.multiprocessing.get_all_start_methods():
        pytest.skip(f'no {context} here')
    dataset = ToyCamVidDataset(num_images=5, size=(64, 48), pipeline=PIPELINE)
    expected = list(DataLoader(dataset, 2, collate_fn=pseudo_collate))
    loader = DataLoader(
        dataset, 2, collate_fn=one_piece_collate, num_workers=1, multiprocessing_context=context
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
        # tensors that can be changed, and that do not overlap
        batch['inputs'][0].zero_()
        labels = batch['data_samples'][0].gt_sem_seg.data
        assert torch.equal(labels, wanted['data_samples'][0].gt_sem_seg.data)


@pytest.mark.parametrize(
    'tensor',
    [
        torch.tensor([[0, 255], [7, 11]]),
        torch.tensor([0, 256]),
        torch.tensor([-1, 3]),
        torch.tensor(5),
        torch.zeros(0, 3),
        torch.arange(7, dtype=torch.uint8),
        torch.linspace(0, 1, 5, dtype=torch.float64),
        torch.arange(12.0).reshape(3, 4).T,
        torch.tensor([True, False, True]),
        torch.linspace(-2, 2, 15).view(3, 5).bfloat16(),
        torch.arange(10)[::3],
    ],
    ids=str,
)
def test_any_tensor(tensor):
    batch = {'x': [torch.ones(3, dtype=torch.uint8), tensor], 'name': 'a', 'array': np.eye(2)}
    received = receive(send(batch))
    found = received['x'][1]
    assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape)
    assert torch.equal(found, tensor) and torch.equal(received['x'][0], batch['x'][0])
    assert received['name'] == 'a' and np.array_equal(received['array'], np.eye(2))


def send(batch):
    return _OnePiece(batch).__reduce__()


def receive(sent):
    function, arguments = sent
    return function(*arguments)


def test_one_block_with_labels_as_bytes(blocks):
    batch = dict(inputs=torch.zeros(3, 8, 8, dtype=torch.uint8), labels=torch.ones(8, 8).long())
    _, (note, block) = send(batch)
    size = (3 + 1) * 64
    # with a quarter to spare for larger batches, and a byte that says whether it is in use
    assert block.is_shared() and block.numel() == size + size // 4 + 1
    assert len(note) < 1000


def test_a_block_is_used_again_once_it_is_received(blocks):
    batches = [torch.full((100,), value, dtype=torch.uint8) for value in range(4)]
    first, second = send(batches[0]), send(batches[1])
    assert len(blocks) == 2
    received = receive(first)
    third = send(batches[2])
    assert len(blocks) == 2 and third[1][1] is first[1][1]
    assert torch.equal(receive(second), batches[1])
    assert torch.equal(receive(third), batches[2])
    assert torch.equal(received, batches[0])


def test_a_larger_batch_replaces_the_blocks_that_are_free(blocks):
    receive(send(torch.zeros(10)))
    waiting = send(torch.ones(10))
    receive(send(torch.zeros(10)))
    larger = torch.rand(1000)
    assert torch.equal(receive(send(larger)), larger)
    assert torch.equal(receive(waiting), torch.ones(10))
    assert [block.numel() > 4000 for block in blocks].count(True) == 1


@pytest.fixture
def blocks(monkeypatch):
    monkeypatch.setattr(collate, '_sending', [])
    return collate._sending


def test_no_tensor():
    assert receive(send(['a', 1])) == ['a', 1]
