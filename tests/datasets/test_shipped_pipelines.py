"""The data sets of the shipped configs, on real images."""

from pathlib import Path

import pytest
from conftest import ROOT
from mmseg.registry import DATASETS

from mmseg_kd.config import load_config
from mmseg_kd.datasets import SeededInfiniteSampler

CONFIGS = sorted((ROOT / 'local_configs' / 'segformer').rglob('*.py'))


@pytest.mark.real_data
@pytest.mark.parametrize('config', CONFIGS, ids=[c.name for c in CONFIGS])
def test_training_samples(config: Path, camvid_root: Path) -> None:
    cfg = load_config(str(config))
    cfg.train_dataloader.dataset.data_root = str(camvid_root)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    assert len(dataset) == 367
    num_classes = cfg.model.decode_head.num_classes
    assert len(dataset.metainfo['classes']) == num_classes
    ids = set()
    for _, index in zip(range(20), SeededInfiniteSampler(dataset, seed=0), strict=False):
        sample = dataset[index]
        image, labels = sample['inputs'], sample['data_samples'].gt_sem_seg.data[0]
        assert image.shape[1:] == labels.shape
        assert max(labels.shape) <= 512
        ids |= set(labels.unique().tolist())
    assert ids >= set(range(num_classes))
    assert ids <= {*range(num_classes), 255}
