"""The training stream is a function of (seed, position) alone."""

from __future__ import annotations

import pickle
import random
from itertools import islice

import numpy as np
import pytest
import torch
from mmengine.dataset import RepeatDataset
from mmengine.registry import DATA_SAMPLERS
from mmengine.runner import set_random_seed
from PIL import Image
from torch.utils.data import DataLoader

from mmseg_kd.datasets import (
    SeededIndex,
    SeededInfiniteSampler,
    SeededSamples,
    ToyCamVidDataset,
)
from mmseg_kd.datasets.seeded_sampling import seeded
from mmseg_kd.engine import KDRunner


class Numbers:
    """Returns its index and one draw of each generator."""

    def __init__(self, size: int = 7) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, idx):
        from_numpy = np.random.random()  # noqa: NPY002
        draws = [idx, random.random(), from_numpy, torch.rand(()).item()]
        return torch.tensor(draws, dtype=torch.float64)


def batches(
    count, *, batch_size=4, num_workers=0, skip=0, rank=0, world_size=1, seed=3, context=None
):
    dataset = SeededSamples(Numbers())
    sampler = SeededInfiniteSampler(dataset, seed=seed)
    sampler.rank, sampler.world_size = rank, world_size
    sampler.skip(skip)
    loader = DataLoader(
        dataset, batch_size, sampler=sampler, num_workers=num_workers,
        multiprocessing_context=context,
    )  # fmt: skip
    return torch.stack(list(islice(loader, count)))


def test_registered():
    sampler = DATA_SAMPLERS.build(
        dict(type='SeededInfiniteSampler', shuffle=True),
        default_args=dict(dataset=Numbers(), seed=1),
    )
    assert isinstance(sampler, SeededInfiniteSampler) and len(sampler) == 7


@pytest.mark.slow
@pytest.mark.parametrize('workers,context', [(2, 'fork'), (1, 'spawn')])
def test_batches_do_not_depend_on_workers(workers, context):
    if context not in torch.multiprocessing.get_all_start_methods():
        pytest.skip(f'no {context} here')
    # The random state of the workers must not matter either.
    random.seed(99)
    expected = batches(6)
    assert torch.equal(batches(6, num_workers=workers, context=context), expected)


def test_skip_is_the_tail_of_an_uninterrupted_stream():
    whole = batches(12)
    for done in (0, 1, 5, 9):
        assert torch.equal(batches(12 - done, skip=done * 4), whole[done:])


def test_skip_far_costs_nothing():
    sampler = SeededInfiniteSampler(range(367), seed=0)
    sampler.skip(10**15)
    assert next(iter(sampler)).seed != 0


def test_two_ranks_of_two_equal_one_of_four():
    whole = batches(10)
    parts = [batches(10, batch_size=2, rank=rank, world_size=2) for rank in (0, 1)]
    # rank r holds positions r, r + 2, ... of every global batch
    assert torch.equal(torch.stack(parts, 2).reshape(whole.shape), whole)
    resumed = [batches(6, batch_size=2, rank=r, world_size=2, skip=8) for r in (0, 1)]
    assert torch.equal(torch.stack(resumed, 2).reshape(6, 4, 4), whole[4:])


def test_every_epoch_visits_each_index_once_in_a_new_order():
    stream = list(islice(SeededInfiniteSampler(range(50), seed=5), 150))
    epochs = [stream[start : start + 50] for start in (0, 50, 100)]
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert len({index.seed for index in stream}) == 150


def test_seeds_differ_and_no_shuffle_counts():
    first, second = (list(islice(SeededInfiniteSampler(range(50), seed=s), 50)) for s in (0, 1))
    assert first != second
    assert {i.seed for i in first}.isdisjoint(i.seed for i in second)
    assert list(islice(SeededInfiniteSampler(range(3), shuffle=False, seed=0), 5)) == [
        0,
        1,
        2,
        0,
        1,
    ]


def test_a_second_iterator_starts_where_the_first_did():
    sampler = SeededInfiniteSampler(range(50), seed=0)
    sampler.skip(60)
    assert list(islice(sampler, 9)) == list(islice(sampler, 9))


def test_random_streams_are_put_back_and_differ_from_each_other():
    dataset = SeededSamples(Numbers())
    set_random_seed(1)
    undisturbed = dataset[0]
    set_random_seed(1)
    drawn, again, other = (dataset[SeededIndex(0, seed)] for seed in (8, 8, 9))
    assert torch.equal(dataset[0], undisturbed)
    assert torch.equal(drawn, again)
    # Each generator and each seed draws its own numbers.
    assert len({*drawn[1:].tolist(), *other[1:].tolist()}) == 6


def test_streams_are_put_back_after_an_error():
    class Raises:
        def __getitem__(self, idx):
            raise KeyError(random.random())

    random.seed(4)
    state = random.getstate()
    with pytest.raises(KeyError):
        SeededSamples(Raises())[SeededIndex(0, 1)]
    assert random.getstate() == state


def test_a_block_in_a_block():
    def numbers():
        return [random.random(), np.random.random_sample(), float(torch.rand(1))]  # noqa: NPY002

    with seeded(3):
        whole = numbers() + numbers()
    with seeded(3):
        first = numbers()
        with seeded(4):
            inner = numbers()
        assert first + numbers() == whole
    with seeded(4):
        assert numbers() == inner


def test_index_and_data_set_pickle():
    index, dataset = pickle.loads(pickle.dumps([SeededIndex(9, 77), SeededSamples(Numbers())]))
    assert (index, index.seed) == (9, 77)
    assert (len(dataset), dataset.size) == (7, 7)


def test_any_data_set_depends_on_the_seed_and_the_position_alone(tmp_path):
    """Also one of mmseg, without a class of this project."""
    for number, name in enumerate('abc'):
        pixels = np.random.default_rng(number).integers(0, 3, (48, 64, 3), np.uint8)
        for folder, image in (('images', pixels), ('masks', pixels[..., 0])):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(image).save(tmp_path / folder / f'{name}.png')
    steps = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
    steps += [dict(type='RandomCrop', crop_size=(32, 32)), dict(type='PackSegInputs')]
    own = dict(
        type='BaseSegDataset',
        metainfo=dict(classes=('a', 'b', 'c')),
        data_prefix=dict(img_path=str(tmp_path / 'images'), seg_map_path=str(tmp_path / 'masks')),
        img_suffix='.png',
        pipeline=steps,
    )
    sampler = dict(type='SeededInfiniteSampler', seed=3)
    cfg = dict(dataset=own, sampler=sampler, batch_size=2, num_workers=0)
    loader = KDRunner.build_dataloader(cfg)
    whole = [torch.stack(batch['inputs']) for batch in islice(loader, 6)]
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    loader.sampler.skip(4)
    tail = [torch.stack(batch['inputs']) for batch in islice(loader, 4)]
    assert all(torch.equal(one, other) for one, other in zip(tail, whole[2:], strict=True))


def test_inside_repeat_dataset():
    toy = ToyCamVidDataset(
        num_images=3, size=(64, 48),
        pipeline=[dict(type='LoadToyScene'), dict(type='RandomFlip', prob=0.5)],
    )  # fmt: skip
    repeated = SeededSamples(RepeatDataset(toy, times=2))
    flips = {tuple(repeated[SeededIndex(i, seed)]['flip'] for i in (1, 4)) for seed in range(12)}
    assert flips == {(False, False), (True, True)}
