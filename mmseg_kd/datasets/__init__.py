"""Datasets, their transforms and samplers, in mmseg's registries."""

from mmseg_kd.datasets.camvid import CamVidDataset
from mmseg_kd.datasets.seeded_sampling import SeededDataset, SeededIndex, SeededInfiniteSampler
from mmseg_kd.datasets.toy_camvid import LoadToyScene, ToyCamVidDataset

__all__ = [
    'CamVidDataset',
    'LoadToyScene',
    'SeededDataset',
    'SeededIndex',
    'SeededInfiniteSampler',
    'ToyCamVidDataset',
]
