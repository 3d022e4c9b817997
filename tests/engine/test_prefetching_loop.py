"""The next batch is fetched while the current one trains, and is the same batch."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import tiny_config
from test_resume import assert_same, train

from mmseg_kd.engine import build_runner
from mmseg_kd.engine.prefetching_loop import Prefetched


@pytest.mark.slow
def test_the_same_training_as_with_mmengines_loop(tmp_path: Path) -> None:
    options = dict(train_dataloader__num_workers=1)
    ours = tiny_config(tmp_path / 'ours', **options)
    stock = tiny_config(tmp_path / 'stock', **options)
    stock.train_cfg.type = 'IterBasedTrainLoop'
    assert_same(train(ours), train(stock))


@pytest.mark.slow
@pytest.mark.parametrize(
    ('workers', 'sampler', 'prefetched'),
    [
        (1, 'SeededInfiniteSampler', True),
        (0, 'SeededInfiniteSampler', False),  # the thread would draw this process' random numbers
        (1, 'DefaultSampler', False),  # draws its order from them
    ],
)
def test_only_a_stream_of_its_own_is_prefetched(
    tmp_path: Path, workers: int, sampler: str, prefetched: bool
) -> None:
    cfg = tiny_config(tmp_path, train_dataloader__num_workers=workers)
    cfg.train_dataloader.sampler.type = sampler
    runner = build_runner(cfg)
    loop = runner.build_train_loop(cfg.train_cfg)
    assert isinstance(loop.dataloader_iterator, Prefetched) == prefetched


def test_one_item_ahead() -> None:
    asked = [threading.Event() for _ in range(3)]

    def items() -> Iterator[int]:
        for i, event in enumerate(asked):
            event.set()
            yield i

    prefetched = Prefetched(items())
    assert next(prefetched) == 0
    assert asked[1].wait(10)
    assert not asked[2].is_set()
    assert [next(prefetched), next(prefetched)] == [1, 2]


def test_an_error_comes_with_its_item() -> None:
    def items() -> Iterator[int]:
        yield 0
        yield 1
        raise OSError('damaged')

    prefetched = Prefetched(items())
    assert [next(prefetched), next(prefetched)] == [0, 1]
    with pytest.raises(OSError, match='damaged'):
        next(prefetched)
