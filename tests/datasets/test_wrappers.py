"""Data sets in wrappers are found by one function, in configs and when they are built."""

from mmengine.dataset import ConcatDataset, RepeatDataset

from mmseg_kd.datasets import ToyCamVidDataset
from mmseg_kd.datasets.wrappers import walk


def test_configs_have_their_keys() -> None:
    first, second = dict(type='A'), dict(type='B')
    repeated = dict(type='RepeatDataset', dataset=second)
    both = dict(type='ConcatDataset', datasets=[first, repeated, 'no config'])
    assert list(walk(both, 'data')) == [
        ('data', both),
        ('data.datasets.0', first),
        ('data.datasets.1', repeated),
        ('data.datasets.1.dataset', second),
    ]
    assert list(walk(None)) == []


def test_built_data_sets() -> None:
    toy = ToyCamVidDataset(num_images=2, size=(32, 32), pipeline=[])
    for wrapper in (RepeatDataset(toy, times=2), ConcatDataset([toy])):
        assert [found for _, found in walk(wrapper)] == [wrapper, toy]
