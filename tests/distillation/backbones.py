"""Every backbone of mmsegmentation and families of timm as teacher and as student.

PYTHONPATH=.:tests:benchmarks python tests/distillation/backbones.py

prints the table of docs/any_model.md.
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from conftest import TINY_BACKBONE, tiny_model
from mmengine.optim import OptimWrapper
from mmseg.registry import MODELS
from torch.optim import SGD

from measuring.steps import random_batch
from mmseg_kd.errors import UserError

SIZE = (128, 128)
STEM = dict(stem_channels=16, base_channels=16)
# Arguments of mmseg's backbones, small where they can be.
MMSEG: dict[str, dict[str, Any]] = {
    'BEiT': dict(img_size=SIZE, embed_dims=48, num_layers=2, num_heads=2, out_indices=(1,)),
    'BiSeNetV1': dict(
        backbone_cfg=dict(type='ResNet', depth=18, num_stages=4, out_indices=(0, 1, 2, 3)),
        spatial_channels=(16, 16, 16, 128), context_channels=(128, 256, 512), out_channels=64,
    ),
    'BiSeNetV2': dict(),
    'CGNet': dict(num_channels=(16, 32, 64), num_blocks=(1, 2)),
    'ERFNet': dict(),
    'FastSCNN': dict(),
    'HRNet': dict(
        extra=dict(
            stage1=dict(
                num_modules=1, num_branches=1, block='BOTTLENECK', num_blocks=(1,),
                num_channels=(16,),
            ),
            **{
                f'stage{n}': dict(
                    num_modules=1, num_branches=n, block='BASIC', num_blocks=(1,) * n,
                    num_channels=(8, 16, 32, 64)[:n],
                )
                for n in (2, 3, 4)
            },
        )
    ),
    'ICNet': dict(
        backbone_cfg=dict(
            type='ResNetV1c', depth=18, num_stages=4, out_indices=(0, 1, 2, 3),
            dilations=(1, 1, 2, 4), strides=(1, 2, 1, 1), style='pytorch',
        ),
        layer_channels=(128, 512),
    ),
    'MAE': dict(img_size=SIZE, embed_dims=48, num_layers=2, num_heads=2, out_indices=(1,)),
    'MSCAN': dict(embed_dims=[8, 16, 32, 64], depths=[1, 1, 1, 1]),
    'MixVisionTransformer': dict(embed_dims=8, num_layers=[1, 1, 1, 1], num_heads=[1, 1, 2, 4]),
    'MixTransformer': {key: x for key, x in TINY_BACKBONE.items() if key != 'type'},
    'MobileNetV2': dict(widen_factor=0.5),
    'MobileNetV3': dict(arch='small'),
    'PCPVT': dict(
        embed_dims=[16, 32, 64, 128], num_heads=[1, 2, 4, 8], patch_sizes=[4, 2, 2, 2],
        strides=[4, 2, 2, 2], mlp_ratios=[2, 2, 2, 2], out_indices=(0, 1, 2, 3),
        depths=[1, 1, 1, 1], sr_ratios=[8, 4, 2, 1], norm_after_stage=False,
    ),
    'ResNeSt': dict(depth=50, **STEM),
    'ResNeXt': dict(depth=50),
    'ResNet': dict(depth=18, **STEM),
    'ResNetV1c': dict(depth=18, **STEM),
    'ResNetV1d': dict(depth=18, **STEM),
    'STDCContextPathNet': dict(
        backbone_cfg=dict(
            type='STDCNet', stdc_type='STDCNet1', in_channels=3, channels=(8, 16, 32, 64, 128),
            bottleneck_type='cat', num_convs=4, norm_cfg=dict(type='BN'),
            act_cfg=dict(type='ReLU'), with_final_conv=False,
        ),
        last_in_channels=(128, 64), out_channels=16,
        ffm_cfg=dict(in_channels=48, out_channels=32, scale_factor=4),
    ),
    'STDCNet': dict(
        stdc_type='STDCNet1', in_channels=3, channels=(8, 16, 32, 64, 128), bottleneck_type='cat',
        norm_cfg=dict(type='BN'), act_cfg=dict(type='ReLU'), num_convs=4, with_final_conv=False,
    ),
    'SVT': dict(
        embed_dims=[16, 32, 64], num_heads=[1, 2, 4], mlp_ratios=[2, 2, 2], depths=[2, 2, 2],
        patch_sizes=[4, 2, 2], strides=[4, 2, 2], out_indices=(0, 1, 2), sr_ratios=[4, 2, 1],
        windiow_sizes=[4, 4, 4], norm_after_stage=True,
    ),
    'SwinTransformer': dict(embed_dims=24, depths=(1, 1, 1, 1), num_heads=(1, 2, 4, 8)),
    'UNet': dict(base_channels=8),
    'VisionTransformer': dict(
        img_size=SIZE, embed_dims=48, num_layers=2, num_heads=2, out_indices=(1,)
    ),
}  # fmt: skip
# Backbones that are not tried, and why.
OTHERS = {
    'DDRNet': 'works with `DDRHead`, its own',
    'PIDNet': 'works with `PIDHead`, its own',
    'VPD': "needs Stable Diffusion's packages and weights; not tried",
}
ANY_SIZE = dict(dynamic_img_size=True, dynamic_img_pad=True)
# A model of each family of timm, and the arguments that it needs for images of any size.
TIMM: dict[str, dict[str, Any]] = {
    'resnet18': {}, 'resnext50_32x4d': {}, 'res2net50_26w_4s': {}, 'regnety_002': {},
    'efficientnet_b0': {}, 'tf_efficientnet_lite0': {}, 'mobilenetv2_100': {},
    'mobilenetv3_small_050': {}, 'ghostnet_100': {}, 'densenet121': {}, 'hrnet_w18_small': {},
    'convnext_atto': {}, 'convnextv2_atto': {}, 'nfnet_l0': {}, 'dpn68': {}, 'repvit_m0_9': {},
    'fastvit_t8': {}, 'edgenext_xx_small': {}, 'mobilevit_xxs': {}, 'poolformer_s12': {},
    'caformer_s18': {}, 'focalnet_tiny_srf': {}, 'mambaout_femto': {}, 'pvt_v2_b0': {},
    'twins_svt_small': {}, 'tiny_vit_5m_224': {}, 'xcit_nano_12_p16_224': {},
    'vit_tiny_patch16_224': ANY_SIZE, 'deit_tiny_patch16_224': ANY_SIZE,
    'swin_tiny_patch4_window7_224': dict(strict_img_size=False),
    'swinv2_tiny_window8_256': dict(strict_img_size=False),
    'beit_base_patch16_224': dict(img_size=128), 'hiera_tiny_224': dict(img_size=128),
    'maxvit_rmlp_nano_rw_256': dict(img_size=128),
    'eva02_tiny_patch14_224': ANY_SIZE, 'levit_128s': {}, 'efficientformer_l1': {},
}  # fmt: skip


def backbones() -> dict[str, dict[str, Any]]:
    """Return the config of every backbone by its name in the table."""
    timm = {
        name: dict(type='TIMMBackbone', model_name=name, pretrained=False, **options)
        for name, options in TIMM.items()
    }
    return {name: dict(type=name, **options) for name, options in MMSEG.items()} | timm


def sized(**changes: Any) -> dict:
    cfg = tiny_model(**changes)
    cfg['data_preprocessor']['size'] = SIZE
    return cfg


def model(backbone: dict, **changes: Any) -> dict:
    """Return a segmentor whose head reads the last output of a backbone.

    Raises:
        UserError: The backbone cannot take the image.
    """
    built = MODELS.build(dict(backbone))
    # mmseg's ResNet returns nothing from it.
    built.eval()
    with torch.no_grad():
        output = built(torch.zeros(1, 3, *SIZE))
    maps = [output] if torch.is_tensor(output) else list(output)
    maps = [x[0] if isinstance(x, list | tuple) else x for x in maps]
    head = dict(
        type='FCNHead', in_channels=maps[-1].shape[1], in_index=len(maps) - 1, channels=16,
        num_convs=1, num_classes=12, loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
    )  # fmt: skip
    return sized(backbone=backbone, decode_head=head, **changes)


LOSSES = dict(
    kl_loss=dict(type='KLDivergenceLoss'),
    at_loss=dict(type='AttentionTransferLoss', stages=['stage1'], teacher_stages=['stage1']),
)


def step(student: dict, teacher: dict, folder: str | Path) -> str:
    """Train one step of a student with a teacher; 'works', or the one line that refuses."""
    try:
        file = Path(folder) / 'teacher.pth'
        torch.save({'state_dict': MODELS.build(teacher).state_dict()}, file)
        built = MODELS.build(
            student | dict(
                type='KDEncoderDecoder', kd_losses=LOSSES,
                teacher=dict(config=teacher, checkpoint=str(file)),
            )
        )  # fmt: skip
        built.train()
        wrapper = OptimWrapper(SGD(built.parameters(), lr=1e-3))
        logs = built.train_step(random_batch(2, SIZE, 12), wrapper)
    except UserError as error:
        return str(error)
    assert logs['loss'].isfinite() and logs['kl_loss'] > 0
    return 'works'


def main() -> None:
    """Print the table."""
    warnings.simplefilter('ignore')
    small = sized()
    print('| backbone | keys | as teacher | as student |\n|---|---|---|---|')
    for name, reason in OTHERS.items():
        print(f'| {name} | | {reason} | |')
    for name, backbone in backbones().items():
        keys = ', '.join(f'`{k}={v}`' for k, v in TIMM.get(name, {}).items())
        with tempfile.TemporaryDirectory() as folder:
            try:
                large = model(backbone)
                results = [step(small, large, folder), step(large, small, folder)]
            except UserError as error:
                results = [str(error)] * 2
            except Exception as error:
                results = [f'{type(error).__name__}: {" ".join(str(error).split())}'[:300]] * 2
        print(f'| {name} | {keys} | {results[0]} | {results[1]} |', flush=True)


if __name__ == '__main__':
    main()
