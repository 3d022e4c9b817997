"""Datasets, their transforms and samplers, in mmseg's registries."""

# ruff: noqa: F401  (the imports register, and are the public names)

from mmseg_kd.datasets.augment import SegAugment
from mmseg_kd.datasets.camvid.dataset import CamVidDataset
from mmseg_kd.datasets.collate import byte_label_collate
from mmseg_kd.datasets.image_cache import CachedDataset
from mmseg_kd.datasets.seeded_sampling import SeededIndex, SeededInfiniteSampler, SeededSamples
from mmseg_kd.datasets.toy.dataset import LoadToyScene, ToyCamVidDataset
