"""Both sides of the testing benchmark test the same images."""

from pathlib import Path

import pytest
from conftest import ROOT

from measuring.runs import testing_runs as make_runs
from mmseg_kd.config import load_config


@pytest.mark.slow
def test_both_test_the_whole_split(tmp_path: Path) -> None:
    cfg = load_config(str(ROOT / 'local_configs/toy/segformer.b0.toy.py'))
    cfg.test_dataloader.dataset.num_images = 2
    for kind, run in make_runs(cfg, tmp_path).items():
        run()
        (log,) = (tmp_path / kind).glob('*/*.log')
        assert 'Iter(test) [2/2]' in log.read_text()
