"""What a config leaves open follows from its other keys."""

from pathlib import Path

import pytest
import torch
from conftest import ROOT, config_file, tiny_config, tiny_model
from mmseg.registry import MODELS

from mmseg_kd.config import load_config
from mmseg_kd.engine.starting import differing_crops

B0 = str(ROOT / 'local_configs/segformer/B0/segformer.b0.512x512.camvid.py')
AUG = str(ROOT / 'local_configs/segformer/B2/segformer.b2.512x512.camvid.aug.py')
CROP = 'crop_size = (360, 480)\n'


def child(folder: Path, text: str, base: str = B0) -> str:
    file = folder / f'child{len(list(folder.iterdir()))}.py'
    file.write_text(f'_base_ = {base!r}\n{text}', encoding='utf-8')
    return str(file)


def crops(config: str, options: dict | None = None) -> tuple:
    cfg = load_config(config, options)
    steps = cfg.train_dataloader.dataset.pipeline
    (crop,) = [step.crop_size for step in steps if 'crop_size' in step]
    return tuple(crop), tuple(cfg.model.data_preprocessor.size)


@pytest.mark.parametrize('base', [B0, AUG])
def test_one_key_sets_the_crop(tmp_path: Path, base: str) -> None:
    expected = (360, 480), (360, 480)
    assert crops(base) == ((512, 512), (512, 512))
    assert crops(base, {'crop_size': (360, 480)}) == expected
    mine = child(tmp_path, CROP, base)
    assert crops(mine) == expected
    assert crops(child(tmp_path, '', mine)) == expected


def test_the_size_follows_a_crop_that_the_pipeline_names(tmp_path: Path) -> None:
    key = 'train_dataloader.dataset.pipeline.2.crop_size'
    assert crops(B0, {key: (360, 480)}) == ((360, 480), (360, 480))
    pipeline = 'dict(type="RandomCrop", crop_size=(96, 64)), dict(type="PackSegInputs")'
    text = f'train_dataloader = dict(dataset=dict(pipeline=[{pipeline}]))'
    assert crops(child(tmp_path, text)) == ((96, 64), (96, 64))


def test_one_number_is_height_and_width(tmp_path: Path) -> None:
    text = 'train_dataloader = dict(dataset=dict(pipeline=[dict(type="RandomCrop", crop_size=64)]))'
    cfg = load_config(child(tmp_path, text))
    assert cfg.model.data_preprocessor.size == (64, 64)
    assert not differing_crops(cfg)


def test_without_a_crop_inputs_are_padded_to_the_strides(tmp_path: Path) -> None:
    text = 'train_dataloader = dict(dataset=dict(pipeline=[dict(type="PackSegInputs")]))'
    preprocessor = load_config(child(tmp_path, text)).model.data_preprocessor
    assert preprocessor.size_divisor == 32
    assert 'size' not in preprocessor


def test_what_a_run_left_behind_keeps_its_sizes(tmp_path: Path) -> None:
    cfg = load_config(B0, {'crop_size': (360, 480)})
    cfg.dump(tmp_path / 'dumped.py')
    assert crops(str(tmp_path / 'dumped.py')) == ((360, 480), (360, 480))
    # And takes another one.
    assert crops(str(tmp_path / 'dumped.py'), {'crop_size': (64, 96)}) == ((64, 96), (64, 96))


def test_another_size_than_the_crop_is_reported(tmp_path: Path) -> None:
    text = CROP + 'model = dict(data_preprocessor=dict(size=(512, 512)))'
    (line,) = differing_crops(load_config(child(tmp_path, text)))
    assert line == (
        'train_dataloader.dataset.pipeline.2.crop_size=(360, 480) is padded to '
        'model.data_preprocessor.size=(512, 512): leave that size out, it follows the crop'
    )
    assert not differing_crops(load_config(B0))


def test_a_model_without_test_cfg_predicts_whole_images(tmp_path: Path) -> None:
    model = tiny_model()
    del model['test_cfg']
    cfg = load_config(str(config_file(tmp_path, model=model)))
    assert cfg.model.test_cfg == dict(mode='whole')


@pytest.mark.parametrize('head', ['SegFormerHead', 'FCNHead'])
def test_class_weights_with_the_mean_over_pixels_that_count(tmp_path: Path, head: str) -> None:
    weights = [float(i + 1) for i in range(12)]
    cfg = tiny_config(tmp_path)
    settings = dict(type='CrossEntropyLoss', avg_non_ignore=True, class_weight=weights)
    cfg.model.decode_head.loss_decode = settings
    if head == 'FCNHead':
        cfg.model.decode_head = dict(
            type=head, in_channels=32, in_index=3, channels=8, num_classes=12, loss_decode=settings
        )
    cfg.dump(tmp_path / 'config.py')
    loaded = load_config(str(tmp_path / 'config.py'))
    loss = MODELS.build(loaded.model).decode_head.loss_decode
    logits, labels = torch.randn(2, 12, 8, 8), torch.randint(0, 12, (2, 8, 8))
    labels[:, :3] = 255
    expected = torch.nn.functional.cross_entropy(
        logits, labels, torch.tensor(weights), ignore_index=255
    )
    torch.testing.assert_close(loss(logits, labels, ignore_index=255), expected)
