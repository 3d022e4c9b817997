"""Datasets, their transforms and samplers, in mmseg's registries."""

from mmengine.dataset import pseudo_collate
from mmengine.registry import FUNCTIONS

from mmseg_kd.datasets.augment import SegAugment
from mmseg_kd.datasets.camvid.dataset import CamVidDataset
from mmseg_kd.datasets.seeded_sampling import SeededDataset, SeededIndex, SeededInfiniteSampler
from mmseg_kd.datasets.toy.dataset import LoadToyScene, ToyCamVidDataset

__all__ = [
    'CamVidDataset',
    'LoadToyScene',
    'SeededDataset',
    'SeededIndex',
    'SeededInfiniteSampler',
    'SegAugment',
    'ToyCamVidDataset',
]

# The collate functions in configs of earlier versions.
FUNCTIONS.register_module(['byte_label_collate', 'one_piece_collate'], module=pseudo_collate)
