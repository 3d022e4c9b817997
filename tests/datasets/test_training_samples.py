"""The samples shown are the samples that training gets."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import tiny_config

from mmseg_kd.datasets.training_samples import TrainingSample, TrainingSamples
from mmseg_kd.engine import build_runner
from mmseg_kd.errors import UserError


def first(cfg, count: int) -> list[TrainingSample]:
    seed = cfg.randomness.seed
    samples = TrainingSamples(cfg.train_dataloader, cfg.model.data_preprocessor, seed)
    return list(samples.first(count))


def test_they_are_the_first_batch_of_the_training(tmp_path: Path) -> None:
    cfg = tiny_config(tmp_path, randomness__seed=5)
    found = first(cfg, 2)
    runner = build_runner(cfg)
    model = runner.model
    batch = model.data_preprocessor(next(iter(runner.build_dataloader(
        cfg.train_dataloader, seed=runner.seed))), training=True)  # fmt: skip
    for sample, inputs, truth in zip(found, batch['inputs'], batch['data_samples'], strict=True):
        assert sample.path == truth.img_path
        assert sample.seen.shape == (64, 64, 3)
        mean, std = model.data_preprocessor.mean, model.data_preprocessor.std
        seen = (torch.from_numpy(sample.seen.transpose(2, 0, 1).copy()) - mean) / std
        assert (seen - inputs.cpu()).abs().max() < 0.01
        assert np.array_equal(sample.seen_labels, truth.gt_sem_seg.data[0].cpu())


def test_the_original_is_next_to_it(tmp_path: Path) -> None:
    cfg = tiny_config(tmp_path)
    pipeline = cfg.train_dataloader.dataset.pipeline
    cfg.train_dataloader.dataset.pipeline = [pipeline[0], pipeline[-1]]
    cfg.model.data_preprocessor.size = (128, 192)
    (sample,) = first(cfg, 1)
    assert sample.image.shape == (120, 160, 3)
    # Without augmentation both are one, and the rest is padding.
    assert np.array_equal(sample.seen[:120, :160], sample.image)
    assert np.array_equal(sample.seen_labels[:120, :160], sample.labels)
    assert (sample.seen_labels[120:] == 255).all()
    assert len(np.unique(sample.seen[120:].reshape(-1, 3), axis=0)) == 1


def test_a_wrapped_data_set(tmp_path: Path) -> None:
    cfg = tiny_config(tmp_path)
    plain = first(cfg, 1)[0]
    inner = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[inner])
    assert np.array_equal(first(cfg, 1)[0].seen, plain.seen)
    inner.pipeline.pop()
    with pytest.raises(UserError, match='no PackSegInputs'):
        first(cfg, 1)
