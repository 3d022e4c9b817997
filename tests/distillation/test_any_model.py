"""CNNs and transformers of mmsegmentation and timm, as teacher and as student."""

from __future__ import annotations

from pathlib import Path

import mmseg.models.backbones
import pytest
import torch
from backbones import MMSEG, OTHERS, TIMM, backbones, model, sized, step
from conftest import ROOT, run, tiny_config
from mmseg.registry import MODELS

from mmseg_kd.config import load_config
from mmseg_kd.errors import UserError

# Student and teacher, each backbone in one role; None is the tiny SegFormer.
PAIRS = [
    (None, 'ResNet'), ('MobileNetV2', 'HRNet'), ('STDCNet', 'SwinTransformer'),
    ('mobilenetv3_small_050', 'VisionTransformer'), ('pvt_v2_b0', 'convnext_atto'),
    ('tf_efficientnet_lite0', 'resnet18'), ('MSCAN', 'mambaout_femto'),
    (None, 'vit_tiny_patch16_224'),
]  # fmt: skip


def segmentor(name: str | None) -> dict:
    return sized() if name is None else model(backbones()[name])


def test_every_backbone_of_mmseg_is_walked() -> None:
    there = {*mmseg.models.backbones.__all__} - {'TIMMBackbone'}
    assert there == {*MMSEG, *OTHERS} - {'MixTransformer'} and len(TIMM) >= 20


@pytest.mark.parametrize('name', ['CGNet', 'BiSeNetV2', 'xcit_nano_12_p16_224'])
def test_a_step_in_either_role(tmp_path: Path, name: str) -> None:
    large = segmentor(name)
    assert step(sized(), large, tmp_path) == 'works'
    assert step(large, sized(), tmp_path) == 'works'


@pytest.mark.slow
@pytest.mark.parametrize(('student', 'teacher'), PAIRS)
def test_trained_resumed_and_tested(tmp_path: Path, student: str | None, teacher: str | None):
    torch.save(
        {'state_dict': MODELS.build(segmentor(teacher)).state_dict()}, tmp_path / 'teacher.pth'
    )
    cfg = tiny_config(tmp_path / 'run')
    cfg.model = segmentor(student) | dict(
        type='KDEncoderDecoder',
        teacher=dict(config=segmentor(teacher), checkpoint=str(tmp_path / 'teacher.pth')),
        kd_losses=dict(
            kl_loss=dict(type='KLDivergenceLoss'),
            at_loss=dict(type='AttentionTransferLoss', stages=['stage1']),
        ),
    )
    cfg.crop_size = (128, 128)
    cfg.train_dataloader.dataset.pipeline[1].crop_size = (128, 128)
    cfg.train_cfg.max_iters = cfg.train_cfg.val_interval = 2
    cfg.default_hooks.checkpoint.interval = 2
    cfg.dump(tmp_path / 'config.py')
    longer = ['--cfg-options', 'train_cfg.max_iters=3', 'train_cfg.val_interval=3']
    assert run('train.py', tmp_path / 'config.py') == 0
    assert run('train.py', tmp_path / 'config.py', '--resume', *longer) == 0
    assert run('test.py', tmp_path / 'config.py', tmp_path / 'run' / 'iter_2.pth') == 0


def test_a_model_of_fixed_size_is_one_line() -> None:
    backbone = MODELS.build(backbones()['vit_tiny_patch16_224'] | dict(dynamic_img_size=False))
    with pytest.raises(UserError, match=r'vit_tiny_patch16_224 cannot take images of \(128, 160\)'):
        backbone(torch.zeros(1, 3, 128, 160))


def test_features_have_their_channels_first() -> None:
    backbone = MODELS.build(backbones()['mambaout_femto'])
    shapes = [tuple(x.shape) for x in backbone(torch.zeros(1, 3, 64, 96))]
    assert shapes == [(1, 48, 16, 24), (1, 96, 8, 12), (1, 192, 4, 6), (1, 288, 2, 3)]


@pytest.mark.parametrize('path', sorted((ROOT / 'local_configs/any_model').glob('*.py')))
def test_shipped_configs_build(path: Path) -> None:
    cfg = load_config(str(path))
    built = MODELS.build(cfg.model).eval()
    with torch.no_grad():
        assert built(torch.zeros(1, 3, 64, 96)).shape[1] == 12
