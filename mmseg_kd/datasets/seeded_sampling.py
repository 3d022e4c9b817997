"""Make the training stream depend on the seed only.

The image at a position of the stream and its augmentation depend on `(seed, position)`. They do not
depend on the number of workers or processes, or on interruptions of the run.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sized
from contextlib import contextmanager
from itertools import count
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_dist_info, sync_random_seed
from mmengine.registry import DATA_SAMPLERS
from mmseg.registry import DATASETS
from torch.utils.data import Dataset, Sampler


class SeededIndex(int):
    """A sample's index with the seed of its augmentation."""

    seed: int

    def __new__(cls, index: int, seed: int) -> SeededIndex:
        """Create an `int` with an attribute `seed`."""
        self = super().__new__(cls, index)
        self.seed = seed
        return self

    def __getnewargs__(self) -> tuple[int, int]:
        return int(self), self.seed


@DATA_SAMPLERS.register_module()
class SeededInfiniteSampler(Sampler):
    """Yield endless epochs of a data set, each index with the seed of its augmentation.

    Every iterator starts at the position set by `skip`, so reading a first batch does not shift the
    stream.

    Args:
        dataset: The data set; only its length is used.
        shuffle: Whether every epoch has a new order; otherwise it is 0, 1, 2, ...
        seed: The same on all processes; None draws one and shares it.
    """

    def __init__(self, dataset: Sized, shuffle: bool = True, seed: int | None = None) -> None:
        self.size = len(dataset)
        self.shuffle = shuffle
        self.seed = sync_random_seed() if seed is None else seed
        self.rank, self.world_size = get_dist_info()
        self.skipped = 0

    def __iter__(self) -> Iterator[SeededIndex]:
        order_epoch = None
        for position in count(self.skipped * self.world_size + self.rank, self.world_size):
            epoch, offset = divmod(position, self.size)
            if epoch != order_epoch:
                rng, order_epoch = np.random.default_rng([self.seed, 0, epoch]), epoch
                order = rng.permutation(self.size) if self.shuffle else range(self.size)
            draw = np.random.SeedSequence([self.seed, 1, position])
            yield SeededIndex(order[offset], int(draw.generate_state(1)[0]))

    def __len__(self) -> int:
        return self.size

    def skip(self, num_samples: int) -> None:
        """Start after the first `num_samples` samples of this process (an absolute count)."""
        self.skipped = num_samples


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run a block with the random streams of a seed, then restore the former streams.

    It covers `random`, `numpy.random` and torch on the CPU. Each gets its own seed, because numpy
    and torch use the same kind of generator and would draw the same numbers.
    """
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    for_python, for_numpy, for_torch = np.random.SeedSequence(seed).generate_state(3).tolist()
    random.seed(for_python)
    np.random.seed(for_numpy)  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=[]):
            # torch.manual_seed would also reseed every GPU.
            torch.default_generator.manual_seed(for_torch)
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002


@DATASETS.register_module()
class SeededSamples(Dataset):
    """Any data set; the seed of a `SeededIndex` decides the augmentation of its sample.

    The runner wraps the data set of a `SeededInfiniteSampler` in it. It has the attributes of the
    wrapped data set.

    Args:
        dataset: The data set, or its config.
    """

    def __init__(self, dataset: Dataset | dict) -> None:
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        """Return a sample; a plain `int` uses the global random streams."""
        if not isinstance(index, SeededIndex):
            return self.dataset[index]
        with seeded(index.seed):
            return self.dataset[int(index)]

    def __getattr__(self, name: str) -> Any:
        # Copies and pickles look for methods before there is a data set.
        if name.startswith('__') or name == 'dataset':
            raise AttributeError(name)
        return getattr(self.dataset, name)
