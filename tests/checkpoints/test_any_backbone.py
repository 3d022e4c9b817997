"""`model.pretrained` for backbones of mmseg and timm, with the files that their users have."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
import torchvision
from conftest import tiny_model
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from safetensors.torch import save_file
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

from mmseg_kd.checkpoints.initialization import init_weights
from mmseg_kd.errors import UserError

RESNET = dict(type='ResNet', depth=18, norm_eval=False)
TIMM = {
    'resnet18': {},
    'mobilenetv3_small_050': {},
    'convnext_atto': {},
    'tf_efficientnet_lite0': {},
    'vit_tiny_patch16_224': dict(img_size=64),
    'swin_tiny_patch4_window7_224': dict(img_size=64),
}


def build(backbone: dict, file: str | Path) -> nn.Module:
    init_default_scope('mmseg_kd')
    head = dict(type='FCNHead', in_channels=8, in_index=0, channels=8, num_classes=3)
    model = tiny_model(backbone=dict(backbone), decode_head=head, pretrained=str(file))
    segmentor = MODELS.build(ConfigDict(model))
    init_weights(segmentor)
    return segmentor.backbone


def randomise(model: nn.Module) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    for value in model.state_dict().values():
        if value.is_floating_point():
            noise = torch.rand(value.shape, generator=generator)
            value.copy_(noise + 0.5 if value.ndim < 2 else noise / value[0].numel() ** 0.5)
    return model.state_dict()


def matched(log: list[str]) -> str:
    (line,) = [line for line in log if 'matched' in line]
    return line


@pytest.mark.parametrize('name', TIMM)
@pytest.mark.parametrize('part', ['full', 'features', 'backbone. of mmcls'])
def test_a_file_of_timm(name: str, part: str, tmp_path: Path, log: list[str]) -> None:
    size = TIMM[name]
    full = timm.create_model(name, **size)
    randomise(full)
    features = timm.create_model(name, features_only=True, **size)
    names = {key.replace('_', '.'): key for key in features.state_dict()}
    names |= {key.removeprefix('model.'): name for key, name in names.items()}
    held = {names.get(k.replace('_', '.')): v for k, v in full.state_dict().items()}
    held = {key: held[key] for key in features.state_dict()}
    saved = {
        'full': full.state_dict(),
        'features': held,
        'backbone. of mmcls': {f'backbone.{k}': v for k, v in full.state_dict().items()},
    }[part]
    torch.save({'state_dict': saved, 'meta': {}}, tmp_path / 'w.pth')
    setting = dict(type='TIMMBackbone', model_name=name, pretrained=False, **size)
    backbone = build(setting, tmp_path / 'w.pth')
    for key, value in backbone.timm_model.state_dict().items():
        assert torch.equal(value, held[key]), key
    assert any(
        f'w.pth: matched {len(held)}/{len(held)} tensors of model.backbone' in x for x in log
    )


def test_the_first_stages_of_timm_take_the_file_of_all(tmp_path: Path, log: list[str]) -> None:
    full = timm.create_model('resnet18')
    torch.save(randomise(full), tmp_path / 'w.pth')
    setting = dict(type='TIMMBackbone', model_name='resnet18', out_indices=(0, 1, 2))
    own = build(setting, tmp_path / 'w.pth').timm_model.state_dict()
    assert all(torch.equal(value, full.state_dict()[key]) for key, value in own.items())
    assert 'left out layer3.' in (line := matched(log)) and line.endswith(', ...')


@pytest.mark.parametrize('key', ['pretrained', 'checkpoint_path'])
def test_the_backbones_own_keys_name_a_file_too(key: str, tmp_path: Path) -> None:
    state = randomise(timm.create_model('resnet18'))
    save_file(state, tmp_path / 'w.safetensors')
    file = str(tmp_path / 'w.safetensors')
    init_default_scope('mmseg_kd')
    backbone = MODELS.build({'type': 'TIMMBackbone', 'model_name': 'resnet18', key: file})
    init_weights(backbone)
    own = backbone.timm_model.state_dict()
    assert all(torch.equal(own[name], state[name]) for name in own)


def features_of(model: nn.Module, nodes: list[str], images: torch.Tensor) -> list[torch.Tensor]:
    return list(create_feature_extractor(model.eval(), nodes)(images).values())


@torch.no_grad()
@pytest.mark.parametrize(
    ('name', 'backbone', 'nodes', 'how'),
    [
        ('resnet18', RESNET, ['layer1', 'layer2', 'layer3', 'layer4'], ''),
        (
            'mobilenet_v2',
            dict(type='MobileNetV2', out_indices=(1, 2, 4)),
            ['features.3', 'features.6', 'features.13'],
            ' by order and shape, because the names differ',
        ),
    ],
)
def test_a_file_of_torchvision_gives_its_features(
    name: str, backbone: dict, nodes: list[str], how: str, tmp_path: Path, log: list[str]
) -> None:
    theirs = getattr(torchvision.models, name)()
    torch.save(randomise(theirs), tmp_path / 'w.pth')
    ours = build(backbone, tmp_path / 'w.pth')
    ours.eval()
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    for feature, expected in zip(ours(images), features_of(theirs, nodes, images), strict=True):
        assert torch.equal(feature, expected)
    assert f' tensors of model.backbone{how}, left out ' in matched(log)


def test_a_backbone_without_the_key(tmp_path: Path, log: list[str]) -> None:
    setting = dict(
        type='PIDNet', channels=8, ppm_channels=8, num_stem_blocks=1, num_branch_blocks=1
    )
    state = randomise(MODELS.build(dict(setting)))
    torch.save({f'backbone.{key}': value for key, value in state.items()}, tmp_path / 'w.pth')
    own = build(setting, tmp_path / 'w.pth').state_dict()
    assert all(torch.equal(own[key], state[key]) for key in state)
    assert f'matched {len(state)}/{len(state)} tensors of model.backbone' in matched(log)


def refusal(backbone: dict, tensors: dict, file: Path) -> str:
    torch.save(tensors, file)
    with pytest.raises(UserError) as caught:
        build(backbone, file)
    assert str(caught.value).startswith(str(file)) and '\n' not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize('backbone', [RESNET, dict(type='TIMMBackbone', model_name='resnet18')])
def test_files_that_do_not_fit(backbone: dict, tmp_path: Path) -> None:
    deeper = torchvision.models.resnet34().state_dict()
    assert 'unexpected 96 (layer1.2.conv1.weight, ' in refusal(backbone, deeper, tmp_path / 'd.pth')
    other = torchvision.models.squeezenet1_1().state_dict()
    message = refusal(backbone, other, tmp_path / 'o.pth')
    assert message.endswith('; the file is of another architecture')


def test_two_backbones_in_a_file(tmp_path: Path) -> None:
    state = torchvision.models.resnet18().state_dict()
    both = {f'{part}.{key}': v for part in ('backbone', 'teacher') for key, v in state.items()}
    message = refusal(RESNET, both, tmp_path / 'w.pth')
    assert "holds several backbones that fit, under 'backbone.' and 'teacher.'" in message


@pytest.mark.parametrize('package', ['no_package', 'no-package', ''])
def test_a_package_that_is_not_installed(package: str) -> None:
    problem = rf'{package} is not installed; pip install -e "\.\[pretrained\]"'
    with pytest.raises(UserError, match=problem):
        build(RESNET, f'package://{package}/models/w.pth')
