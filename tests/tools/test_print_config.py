"""The config in full."""

from pathlib import Path

import pytest
from conftest import run
from mmengine.config import Config

from mmseg_kd.config import load_config

CONFIG = 'local_configs/segformer/B0/segformer.b0.512x512.camvid.kd.py'
TOOL = 'misc/print_config.py'


def test_what_is_printed_is_the_config(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    options = ['--cfg-options', 'model.kd_losses.kl_loss.temperature=2']
    assert run(TOOL, CONFIG, *options, '--save-path', tmp_path / 'a' / 'full.py') == 0
    printed = tmp_path / 'printed.py'
    printed.write_text(capfd.readouterr().out, encoding='utf-8')
    found = Config.fromfile(printed)
    assert found.model.kd_losses.kl_loss.temperature == 2
    assert found.to_dict() == Config.fromfile(tmp_path / 'a' / 'full.py').to_dict()
    expected = load_config(CONFIG, {'model.kd_losses.kl_loss.temperature': 2})
    assert found.to_dict() == expected.to_dict()


def test_mistakes_are_one_line(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    mine = tmp_path / 'mine.py'
    mine.write_text('mine')
    for arguments, message in (
        ((CONFIG, '--save-path', mine), 'mine.py exists'),
        ((CONFIG, '--save-path', tmp_path / 'full.yaml'), 'does not end in .py'),
        ((tmp_path / 'lost.py',), 'lost.py does not exist'),
        ((CONFIG, '--cfg-options', 'trian_cfg.max_iters=3'), 'train_cfg'),
        ((CONFIG, '--cfg-options', 'train_cfg.max_iters'), 'is not KEY=VALUE'),
    ):
        assert run(TOOL, *arguments) == 2
        error = capfd.readouterr().err
        assert message in error
        assert len(error.strip().splitlines()) == 1
    assert mine.read_text() == 'mine'
