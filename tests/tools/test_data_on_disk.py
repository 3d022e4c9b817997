"""Images in files: test-time augmentation, and a damaged one in a worker."""

import json
from pathlib import Path

import pytest
from conftest import ROOT, config_file, run
from mmengine.config import Config
from PIL import Image

from mmseg_kd.config import load_config


def black_camvid(root: Path, split: str) -> None:
    """Four black images of Sky, in CamVid's layout."""
    for folder in (split, f'{split}annot'):
        (root / folder).mkdir(parents=True)
        for i in range(4):
            image = Image.new('RGB' if folder == split else 'L', (80, 80))
            image.save(root / folder / f'{i}.png')


def test_test_time_augmentation(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    black_camvid(tmp_path / 'data', 'test')
    camvid = load_config(str(ROOT / 'local_configs/segformer/B0/segformer.b0.512x512.camvid.py'))
    dataset = dict(type='CamVidDataset', data_root=str(tmp_path / 'data'), split='test')
    file = config_file(tmp_path, test_dataloader__dataset=dict(**dataset, _delete_=True))
    cfg = Config.fromfile(file)
    cfg.tta_pipeline = camvid.tta_pipeline
    cfg.dump(file)
    checkpoint = trained / 'run' / 'iter_6.pth'
    assert run('test.py', file, checkpoint, '--tta', '--work-dir', tmp_path / 'tta') == 0
    assert 'matched 116/116 tensors' in ''.join(capfd.readouterr())
    assert 'mIoU' in json.loads(next((tmp_path / 'tta').glob('*/*.json')).read_text())


def test_a_damaged_image_is_named_also_from_a_worker(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    black_camvid(tmp_path / 'data', 'train')
    broken = tmp_path / 'data' / 'train' / '2.png'
    broken.write_bytes(broken.read_bytes()[:-20])
    file = config_file(
        tmp_path,
        train_dataloader__num_workers=1,
        train_dataloader__dataset=dict(
            type='CamVidDataset',
            data_root=str(tmp_path / 'data'),
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='LoadAnnotations'),
                dict(type='RandomCrop', crop_size=(64, 64)),
                dict(type='PackSegInputs'),
            ],
            _delete_=True,
        ),
    )
    assert run('train.py', file) == 2
    error = capfd.readouterr().err
    assert 'Traceback' not in error
    last = error.strip().splitlines()[-1]
    assert last.startswith(f'error: {broken}')
