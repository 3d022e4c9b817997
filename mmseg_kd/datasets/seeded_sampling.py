"""A training stream that is a function of the seed alone.

Which image comes at a position of the stream, and how it is augmented there, depends on
``(seed, position)`` and on nothing else: not on the number of workers or processes, and not on
whether the run was interrupted.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sized
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_dist_info, sync_random_seed
from mmengine.registry import DATA_SAMPLERS
from torch.utils.data import Sampler


class SeededIndex(int):
    """A sample's index together with the seed of this draw of it."""

    seed: int

    def __new__(cls, index: int, seed: int) -> SeededIndex:
        """An ``int`` that also knows ``seed``."""
        self = super().__new__(cls, index)
        self.seed = seed
        return self

    def __getnewargs__(self) -> tuple[int, int]:
        return int(self), self.seed

    # RepeatDataset and ConcatDataset reach their inner sample by these two
    def __mod__(self, other: int) -> SeededIndex:
        return SeededIndex(int(self) % other, self.seed)

    def __sub__(self, other: int) -> SeededIndex:
        return SeededIndex(int(self) - other, self.seed)


@DATA_SAMPLERS.register_module()
class SeededInfiniteSampler(Sampler):
    """Endless epochs of a dataset, each index with the seed of its draw.

    Every iterator starts at the position set by :meth:`skip`, so looking at a first batch does not
    shift the stream.

    Args:
        dataset: What is sampled; only its length is read.
        shuffle: A new order each epoch, or always ``0, 1, 2, ...``.
        seed: Same on all processes; ``None`` draws one and shares it.
    """

    def __init__(self, dataset: Sized, shuffle: bool = True, seed: int | None = None) -> None:
        self.size = len(dataset)
        self.shuffle = shuffle
        self.seed = sync_random_seed() if seed is None else seed
        self.rank, self.world_size = get_dist_info()
        self.skipped = 0

    def __iter__(self) -> Iterator[SeededIndex]:
        position = self.skipped * self.world_size + self.rank
        order_epoch = None
        while True:
            epoch, offset = divmod(position, self.size)
            if epoch != order_epoch:
                order, order_epoch = self._order(epoch), epoch
            draw = np.random.SeedSequence([self.seed, 1, position])
            yield SeededIndex(order[offset], int(draw.generate_state(1)[0]))
            position += self.world_size

    def __len__(self) -> int:
        return self.size

    def skip(self, num_samples: int) -> None:
        """Start after the first ``num_samples`` of this process's draws (an absolute count)."""
        if num_samples < 0:
            raise ValueError(f'num_samples must not be negative, got {num_samples}')
        self.skipped = num_samples

    def _order(self, epoch: int) -> list[int]:
        if not self.shuffle:
            return list(range(self.size))
        rng = np.random.default_rng([self.seed, 0, epoch])
        return rng.permutation(self.size).tolist()


# Generators that wait to be used again, as blocks can be nested.
_idle: list[np.random.MT19937] = []


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run a block with the random streams of ``seed`` and put the former streams back.

    It covers ``random``, ``numpy.random`` and torch on the CPU, each with a seed of its own: numpy
    and torch share a generator, and from one seed would draw the same numbers. Of numpy's former
    stream the second of a pair of normal numbers is lost, if the first alone had been taken.
    """
    states = random.getstate(), np.random.get_bit_generator(), torch.get_rng_state()
    for_python, for_numpy, for_torch = np.random.SeedSequence(seed).generate_state(3).tolist()
    random.seed(for_python)
    # To read and write numpy's state takes forty times as long as to change generators.
    generator = _idle.pop() if _idle else np.random.MT19937(0)
    np.random.set_bit_generator(generator)
    np.random.seed(for_numpy)  # noqa: NPY002
    # torch.manual_seed would reseed every GPU as well
    torch.default_generator.manual_seed(for_torch)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_bit_generator(states[1])
        _idle.append(generator)
        torch.set_rng_state(states[2])


class SeededDataset:
    """Mixin for a dataset: a :class:`SeededIndex` decides the augmentation of its sample."""

    def prepare_data(self, idx: int) -> Any:
        """The sample after the pipeline; a plain ``int`` leaves the random streams alone."""
        if not isinstance(idx, SeededIndex):
            return super().prepare_data(idx)
        with seeded(idx.seed):
            return super().prepare_data(int(idx))
