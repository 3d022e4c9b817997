"""Both candidates prepare the same kind of samples."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import ROOT
from mmengine.runner import Runner

from measuring.runs import data_runs
from measuring.stock import stock_dataloader
from mmseg_kd.config import load_config
from mmseg_kd.datasets.seeded_sampling import seeded

CAMVID = ROOT / 'local_configs' / 'segformer' / 'B0' / 'segformer.b0.512x512.camvid.py'
TOY = ROOT / 'local_configs' / 'toy' / 'segformer.b0.toy.py'


@pytest.mark.parametrize('workers', [0, 1])
def test_a_call_draws_its_samples(workers, monkeypatch):
    cfg = load_config(str(TOY))
    cfg.train_dataloader.dataset.update(num_images=4)
    drawn = []
    build = Runner.build_dataloader

    def counting(*args, **kwargs):
        loader = build(*args, **kwargs)
        collate = loader.collate_fn
        loader.collate_fn = lambda samples: drawn.append(len(samples)) or collate(samples)
        return loader

    if not workers:
        monkeypatch.setattr(Runner, 'build_dataloader', counting)
    runs = data_runs(cfg, workers, samples=6)
    assert list(runs) == ['stock', 'mmseg_kd']
    for run in runs.values():
        run()
        run()
    assert workers or drawn == [2] * 12


@pytest.mark.real_data
def test_stock_camvid_has_nothing_of_this_project(camvid_root):
    cfg = load_config(str(CAMVID))
    cfg.train_dataloader.dataset.data_root = str(camvid_root)
    cfg.train_dataloader.num_workers = 0
    cfg.train_dataloader.persistent_workers = False
    ours = Runner.build_dataloader(cfg.train_dataloader, seed=0).dataset
    loader = Runner.build_dataloader(
        stock_dataloader(cfg.train_dataloader) | dict(num_workers=0, persistent_workers=False),
        seed=0,
    )
    stock = loader.dataset
    parts = [stock, loader.sampler, loader.collate_fn.func, *stock.pipeline.transforms]
    modules = {getattr(part, '__module__', type(part).__module__) for part in parts}
    assert not [name for name in modules if name.startswith('mmseg_kd')]
    assert [type(t).__name__ for t in stock.pipeline.transforms] == [
        'LoadImageFromFile', 'LoadAnnotations', 'RandomResize', 'RandomCrop', 'RandomFlip',
        'PhotoMetricDistortion', 'PackSegInputs',
    ]  # fmt: skip
    assert len(stock) == len(ours) == 367
    places = {Path(stock.get_data_info(i)['img_path']).name: i for i in range(len(stock))}
    for seed, index in enumerate((0, 5, 200)):
        place = places[Path(ours.get_data_info(index)['img_path']).name]
        with seeded(seed):
            theirs = stock[place]['inputs']
        with seeded(seed):
            assert torch.equal(ours[index]['inputs'], theirs)
