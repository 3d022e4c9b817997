"""Data sets in wrappers are found by one function."""

from mmseg_kd.nested import walk


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
