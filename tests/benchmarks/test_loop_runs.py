"""What the loop's benchmark times is what it says."""

from pathlib import Path

import pytest
from conftest import ROOT

from measuring.runs import loop_runs
from mmseg_kd.config import load_config


@pytest.mark.slow
def test_a_call_trains_that_many_iterations(tmp_path: Path) -> None:
    cfg = load_config(str(ROOT / 'local_configs/toy/segformer.b0.toy.py'))
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.default_hooks.logger.interval = 2
    runs = loop_runs(cfg, tmp_path, iterations=2)
    assert set(runs) == {'step', 'iteration', 'stock step', 'stock iteration'}
    for run in runs.values():
        run()
    # Stock mmseg logs every 50 iterations, this config every second.
    (log,) = (tmp_path / 'mmseg_kd').glob('*/*.log')
    assert 'Iter(train) [      2/1000000]' in log.read_text()
    assert not list(tmp_path.rglob('*.pth'))
