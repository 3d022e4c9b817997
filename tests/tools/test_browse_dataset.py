"""Pictures of the training data."""

from pathlib import Path

import pytest
from conftest import ROOT, config_file, run

TOOL = 'analysis_tools/browse_dataset.py'


def test_pictures_in_the_order_of_training(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    config = config_file(tmp_path)
    every, some = tmp_path / 'every', tmp_path / 'some'
    assert run(TOOL, config, '--output-dir', every) == 0
    assert '8 pictures' in capfd.readouterr().out
    names = sorted(file.name for file in every.iterdir())
    assert [name[0] for name in names] == list('12345678')
    # An epoch: each image once, shuffled.
    images = [name[2:] for name in names]
    assert sorted(images) == [f'{i:04d}.png' for i in range(8)] != images
    assert run(TOOL, config, '--output-dir', some, '--show-number', '3') == 0
    assert sorted(file.name for file in some.iterdir()) == names[:3]
    for name in names[:3]:
        assert (some / name).read_bytes() == (every / name).read_bytes()


def test_mistakes_are_one_line(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    config = ROOT / 'local_configs/toy/segformer.b0.toy.py'
    (tmp_path / 'used').mkdir()
    (tmp_path / 'used' / 'mine.png').write_text('mine')
    new = ['--output-dir', tmp_path / 'new']
    lost = ['--cfg-options', 'train_dataloader.dataset.size=1']
    for arguments, message in (
        ([], 'the following arguments are required: --output-dir'),
        (['--output-dir', tmp_path / 'used'], 'used is not empty'),
        ([*new, '--show-number', '0'], 'not a whole number from 1 up'),
        ([*new, '--cfg-options', 'train_dataloader=None'], 'has no train_dataloader'),
        ([*new, *lost], 'cannot be built'),
    ):
        assert run(TOOL, config, *arguments) == 2
        error = capfd.readouterr().err
        assert message in error
        assert 'Traceback' not in error
        assert 'error: ' in error.strip().splitlines()[-1]
    assert not (tmp_path / 'new').exists()
