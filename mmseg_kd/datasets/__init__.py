"""Datasets, their transforms and samplers, in mmseg's registries."""

from mmseg_kd.datasets.augment import SegAugment
from mmseg_kd.datasets.camvid.dataset import CamVidDataset
from mmseg_kd.datasets.collate import byte_label_collate
from mmseg_kd.datasets.image_cache import CachedDataset
from mmseg_kd.datasets.seeded_sampling import SeededIndex, SeededInfiniteSampler, SeededSamples
from mmseg_kd.datasets.toy.dataset import LoadToyScene, ToyCamVidDataset

__all__ = [
    'CachedDataset',
    'CamVidDataset',
    'LoadToyScene',
    'SeededIndex',
    'SeededInfiniteSampler',
    'SeededSamples',
    'SegAugment',
    'ToyCamVidDataset',
    'byte_label_collate',
]
