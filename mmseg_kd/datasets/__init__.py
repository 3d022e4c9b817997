"""Datasets, their transforms and samplers, in mmseg's registries."""

from .camvid import CamVidDataset
from .seeded_sampling import SeededDataset, SeededIndex, SeededInfiniteSampler
from .toy_camvid import LoadToyScene, ToyCamVidDataset

__all__ = [
    'CamVidDataset',
    'LoadToyScene',
    'SeededDataset',
    'SeededIndex',
    'SeededInfiniteSampler',
    'ToyCamVidDataset',
]
