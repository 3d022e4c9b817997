"""A published file does what the checkpoint did; its content is tested with `publish`."""

import json
from pathlib import Path

import pytest
import torch
from conftest import KD_LOSSES, config_file, run, tiny_model

TOOL = 'misc/publish_model.py'


def test_it_tests_as_the_checkpoint_does(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    checkpoint = trained / 'run' / 'iter_6.pth'
    assert run(TOOL, checkpoint, tmp_path / 'tiny.pth') == 0
    printed = capfd.readouterr().out
    (file,) = tmp_path.glob('tiny-????????.pth')
    assert str(file) in printed
    assert file.stat().st_size < checkpoint.stat().st_size / 2
    scores = []
    for weights in (checkpoint, file):
        work = tmp_path / f'test_{weights.stem}'
        assert run('test.py', trained / 'config.py', weights, '--work-dir', work) == 0
        metrics = json.loads(next(work.glob('*/*.json')).read_text())
        scores.append([metrics[key] for key in ('mIoU', 'aAcc', 'mAcc')])
    assert scores[0] == scores[1]


def test_it_can_teach(trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    assert run(TOOL, trained / 'run' / 'iter_6.pth', tmp_path / 'teacher.pth') == 0
    (file,) = tmp_path.glob('teacher-*.pth')
    meta = torch.load(file, weights_only=True)['meta']
    assert meta['dataset_meta']['classes'][0] == 'Sky'
    assert len(meta['dataset_meta']['palette']) == 12
    teacher = dict(config=str(trained / 'config.py'), checkpoint=str(file))
    model = tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=KD_LOSSES)
    config = config_file(tmp_path, model=model)
    assert run('train.py', config, '--cfg-options', 'train_cfg.max_iters=1') == 0


def test_mistakes_are_one_line(trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    checkpoint = trained / 'run' / 'iter_6.pth'
    for arguments, message in (
        ((checkpoint, tmp_path / 'tiny.pt'), 'write a name that ends in .pth'),
        ((trained / 'run', tmp_path / 'tiny.pth'), 'is a folder'),
        ((trained / 'config.py', tmp_path / 'tiny.pth'), 'is a text file'),
    ):
        assert run(TOOL, *arguments) == 2
        error = capfd.readouterr().err
        assert message in error
        assert len(error.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())
