"""Configs of mmsegmentation 0.x and NVlabs/SegFormer, and what their rules say."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import run
from mmengine.dataset import Compose
from mmseg.registry import MODELS
from PIL import Image

from mmseg_kd.config import load_config

TOOL = 'misc/migrate_config.py'
MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]

# As NVlabs/SegFormer has them: a base for the data, one for the model, and the experiment.
NVLABS_DATA = """
dataset_type = 'CamVidDataset'
data_root = 'data/CamVid'
img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
crop_size = (512, 512)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='Resize', img_scale=(480, 360), ratio_range=(0.5, 2.0)),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='Pad', size=crop_size, pad_val=0, seg_pad_val=255),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img', 'gt_semantic_seg']),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiScaleFlipAug', img_scale=(480, 360), flip=False, transforms=[
        dict(type='AlignResize', keep_ratio=True, size_divisor=32),
        dict(type='RandomFlip'),
        dict(type='Normalize', **img_norm_cfg),
        dict(type='ImageToTensor', keys=['img']),
        dict(type='Collect', keys=['img']),
    ]),
]
data = dict(
    samples_per_gpu=4,
    workers_per_gpu=3,
    train=dict(type='RepeatDataset', times=50, dataset=dict(
        type=dataset_type, data_root=data_root, img_dir='train', ann_dir='trainannot',
        pipeline=train_pipeline)),
    val=dict(type=dataset_type, data_root=data_root, img_dir='val', ann_dir='valannot',
        pipeline=test_pipeline),
    test=dict(type=dataset_type, data_root=data_root, img_dir='test', ann_dir='testannot',
        pipeline=test_pipeline))
"""
NVLABS = """
_base_ = ['./data.py']
norm_cfg = dict(type='SyncBN', requires_grad=True)
find_unused_parameters = True
model = dict(
    type='EncoderDecoder', pretrained='pretrained/mit_b0.pth',
    backbone=dict(type='mit_b0', style='pytorch'),
    decode_head=dict(
        type='SegFormerHead', in_channels=[32, 64, 160, 256], in_index=[0, 1, 2, 3],
        feature_strides=[4, 8, 16, 32], channels=128, dropout_ratio=0.1, num_classes=12,
        norm_cfg=norm_cfg, align_corners=False, decoder_params=dict(embed_dim=192),
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)),
    train_cfg=dict(), test_cfg=dict(mode='whole'))
data = dict(samples_per_gpu=2)
optimizer = dict(
    type='AdamW', lr=0.00006, betas=(0.9, 0.999), weight_decay=0.01,
    paramwise_cfg=dict(custom_keys={
        'pos_block': dict(decay_mult=0.), 'norm': dict(decay_mult=0.),
        'head': dict(lr_mult=10.)}))
optimizer_config = dict()
lr_config = dict(
    policy='poly', warmup='linear', warmup_iters=60, warmup_ratio=1e-6, power=1.0,
    min_lr=0.0, by_epoch=False)
runner = dict(type='IterBasedRunner', max_iters=400)
checkpoint_config = dict(by_epoch=False, interval=40)
evaluation = dict(interval=80, metric='mIoU')
log_config = dict(interval=20, hooks=[dict(type='TextLoggerHook', by_epoch=False)])
dist_params = dict(backend='nccl')
log_level = 'INFO'
resume_from = None
workflow = [('train', 1)]
cudnn_benchmark = False
"""
# In one file.
WHOLE = NVLABS.replace("_base_ = ['./data.py']", NVLABS_DATA)
WHOLE = WHOLE.replace('data = dict(samples_per_gpu=2)', '')
# As mmsegmentation 0.x has them, for a data set of the user's own.
FCN = """
norm_cfg = dict(type='SyncBN', requires_grad=True)
img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
model = dict(
    type='EncoderDecoder', pretrained=None,
    backbone=dict(
        type='ResNetV1c', depth=18, num_stages=4, out_indices=(0, 1, 2, 3),
        dilations=(1, 1, 2, 4), strides=(1, 2, 1, 1), norm_cfg=norm_cfg, norm_eval=False,
        style='pytorch', contract_dilation=True),
    decode_head=dict(
        type='PSPHead', in_channels=512, in_index=3, channels=16, pool_scales=(1, 2, 3, 6),
        dropout_ratio=0.1, num_classes=3, norm_cfg=norm_cfg, align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)))
train_cfg = dict()
test_cfg = dict(mode='slide', crop_size=(64, 64), stride=(42, 42))
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(type='Resize', img_scale=(96, 64), ratio_range=(0.5, 2.0)),
    dict(type='RandomCrop', crop_size=(64, 64), cat_max_ratio=0.75),
    dict(type='RandomFlip', flip_ratio=0.25),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='Pad', size=(64, 64), pad_val=0, seg_pad_val=255),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img', 'gt_semantic_seg']),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiScaleFlipAug', img_scale=(96, 64), flip=True, transforms=[
        dict(type='Resize', keep_ratio=True), dict(type='RandomFlip'),
        dict(type='Normalize', **img_norm_cfg), dict(type='Pad', size_divisor=32),
        dict(type='ImageToTensor', keys=['img']), dict(type='Collect', keys=['img'])]),
]
own = dict(
    type='CustomDataset', data_root={root!r}, img_dir='img', ann_dir='ann', img_suffix='.png',
    reduce_zero_label=True, classes=('a', 'b', 'c'), palette=[[0] * 3, [1] * 3, [2] * 3])
data = dict(
    samples_per_gpu=2, workers_per_gpu=0,
    train=dict(pipeline=train_pipeline, **own),
    val=dict(pipeline=test_pipeline, **own),
    test=dict(pipeline=test_pipeline, **own))
optimizer = dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0005)
optimizer_config = dict(grad_clip=dict(max_norm=1.0))
lr_config = dict(policy='poly', power=0.9, min_lr=1e-4, by_epoch=False)
runner = dict(type='IterBasedRunner', max_iters=4)
checkpoint_config = dict(by_epoch=False, interval=2, max_keep_ckpts=1)
evaluation = dict(interval=2, metric='mIoU', pre_eval=True)
log_config = dict(interval=1, hooks=[dict(type='TextLoggerHook')])
custom_hooks = [dict(type='MyHook')]
seed = 7
"""


def migrated(folder: Path, **files: str) -> Path:
    """Write old configs, the last of which is migrated; the new one."""
    for name, text in files.items():
        (folder / f'{name}.py').write_text(text, encoding='utf-8')
    new = folder / 'sub' / 'new.py'
    assert run(TOOL, folder / f'{name}.py', new) == 0
    return new


def test_a_config_of_nvlabs(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    new = migrated(tmp_path, data=NVLABS_DATA, old=NVLABS)
    head = f'# Migrated from {tmp_path / "old.py"}\n'
    assert new.read_text(encoding='utf-8').startswith(f'{head}_base_ = ')
    assert capfd.readouterr().out == f'{head}python tools/train.py {new.as_posix()}\n'
    cfg = load_config(str(new))
    head = cfg.model.decode_head
    assert (cfg.model.backbone, head.embed_dim) == (dict(type='mit_b0'), 192)
    assert 'channels' not in head and 'feature_strides' not in head
    assert head.norm_cfg == dict(type='SyncBN', requires_grad=True)
    assert cfg.model.pretrained == 'pretrained/mit_b0.pth'
    train, val = cfg.train_dataloader, cfg.val_dataloader
    assert (train.batch_size, train.num_workers, val.batch_size) == (2, 3, 1)
    assert (train.dataset.split, val.dataset.split) == ('train', 'val')
    assert train.sampler == dict(type='SeededInfiniteSampler', shuffle=True)
    assert (cfg.train_cfg.max_iters, cfg.train_cfg.val_interval) == (400, 80)
    assert cfg.param_scheduler == [
        dict(
            type='LrUpdater', policy='poly', warmup='linear', warmup_iters=60, warmup_ratio=1e-6,
            power=1.0, min_lr=0.0,
        )
    ]  # fmt: skip
    free = {key: dict(decay_mult=0.0) for key in ('pos_block', 'norm')}
    assert cfg.optim_wrapper == dict(
        type='OptimWrapper',
        constructor='GroupedOptimWrapperConstructor',
        optimizer=dict(type='AdamW', lr=0.00006, betas=(0.9, 0.999), weight_decay=0.01),
        paramwise_cfg=dict(custom_keys=free | dict(head=dict(lr_mult=10.0))),
    )
    hooks = cfg.default_hooks
    assert (hooks.checkpoint.interval, hooks.logger.interval) == (40, 20)
    assert cfg.find_unused_parameters and not cfg.env_cfg.cudnn_benchmark
    assert [step.type for step in val.dataset.pipeline] == [
        'LoadImageFromFile', 'Resize', 'ResizeToMultiple', 'LoadAnnotations', 'PackSegInputs',
    ]  # fmt: skip


def picture(folder: Path, size: tuple[int, int] = (160, 120), labels: int = 4) -> dict:
    """Write an image and its labels; what a pipeline takes."""
    generator = np.random.default_rng(0)
    for name, shape, high in (('img', (*size[::-1], 3), 256), ('ann', size[::-1], labels)):
        (folder / name).mkdir(exist_ok=True)
        pixels = generator.integers(0, high, shape, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name / 'a.png')
    return dict(
        img_path=str(folder / 'img' / 'a.png'),
        seg_map_path=str(folder / 'ann' / 'a.png'),
        reduce_zero_label=False,
        seg_fields=[],
    )


def test_the_augmentation_is_that_of_0x(tmp_path: Path) -> None:
    cfg = load_config(str(migrated(tmp_path, data=NVLABS_DATA, old=NVLABS)))
    steps = cfg.train_dataloader.dataset.pipeline
    assert [step.type for step in steps] == [
        'LoadImageFromFile', 'LoadAnnotations', 'RandomResize', 'RandomCrop', 'RandomFlip',
        'PhotoMetricDistortion', 'PackSegInputs',
    ]  # fmt: skip
    assert (steps[3].crop_size, steps[3].cat_max_ratio, steps[4].prob) == ((512, 512), 0.75, 0.5)
    loaded = picture(tmp_path)
    resize = Compose(steps[:3])
    for seed in range(20):
        np.random.seed(seed)  # noqa: NPY002
        height, width = resize(copy.deepcopy(loaded))['img'].shape[:2]
        # Resize.random_sample_ratio of 0.x, then the largest size of the image's own ratio.
        np.random.seed(seed)  # noqa: NPY002
        ratio = np.random.random_sample() * (2.0 - 0.5) + 0.5  # noqa: NPY002
        scale = int(480 * ratio), int(360 * ratio)
        factor = min(max(scale) / 160, min(scale) / 120)
        assert (width, height) == (int(160 * factor + 0.5), int(120 * factor + 0.5))
    np.random.seed(3)  # noqa: NPY002
    sample = Compose(steps)(copy.deepcopy(loaded))
    image = sample['inputs']
    out = MODELS.build(cfg.model.data_preprocessor)(
        dict(inputs=[image], data_samples=[sample['data_samples']]), training=True
    )
    # Normalize, then Pad, as 0.x has them.
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    normal = (image.flip(0).float() - mean) / std
    height, width = image.shape[1:]
    assert out['inputs'].shape == (1, 3, 512, 512)
    assert torch.allclose(out['inputs'][0, :, :height, :width], normal, atol=1e-5)
    assert not out['inputs'][0, :, height:].any()
    assert (out['data_samples'][0].gt_sem_seg.data[0, height:] == 255).all()


def test_a_config_of_mmsegmentation_trains_and_is_tested(tmp_path: Path) -> None:
    picture(tmp_path)
    new = migrated(tmp_path, old=FCN.replace('{root!r}', repr(tmp_path.as_posix())))
    lines = [line for line in new.read_text(encoding='utf-8').splitlines() if line[:1] == '#']
    assert lines[1].startswith("# No equal here: own={'type': 'CustomDataset'")
    assert lines[2:] == ["# No equal here: custom_hooks=[{'type': 'MyHook'}]"]
    cfg = load_config(str(new))
    own = cfg.train_dataloader.dataset
    assert own.type == 'BaseSegDataset'
    assert own.data_prefix == dict(img_path='img', seg_map_path='ann')
    assert own.metainfo.classes == ('a', 'b', 'c') and own.reduce_zero_label
    assert own.pipeline[4].prob == 0.25
    assert cfg.model.test_cfg == dict(mode='slide', crop_size=(64, 64), stride=(42, 42))
    assert cfg.val_dataloader.dataset.pipeline[1].scale == (96, 64)
    assert cfg.randomness.seed == 7 and cfg.optim_wrapper.clip_grad == dict(max_norm=1.0)
    assert run('train.py', new, '--work-dir', tmp_path / 'run') == 0
    (checkpoint,) = (tmp_path / 'run').glob('iter_*.pth')
    assert checkpoint.name == 'iter_4.pth'
    assert run('test.py', new, checkpoint, '--work-dir', tmp_path / 'test') == 0


def test_mistakes_are_one_line(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    old, new = tmp_path / 'old.py', tmp_path / 'new.py'
    for content, message in (
        ('model = dict(', 'old.py, line 1'),
        ('a = 1', 'old.py is not a whole config of mmsegmentation 0.x: data is missing'),
        (WHOLE.replace("type='IterBasedRunner', max_iters", 'max_epochs'), 'by epochs'),
        (WHOLE.replace('min_lr=0.0, by_epoch=False', 'min_lr=0.0'), 'old.py: a training by epochs'),
        (WHOLE.replace("dict(type='LoadAnnotations')", '3'), 'old.py cannot be read: TypeError'),
        (WHOLE.replace("dict(type='mit_b0', style='pytorch')", '3'), 'AttributeError'),
    ):
        old.write_text(content, encoding='utf-8')
        assert run(TOOL, old, new) == 2, message
        error = capfd.readouterr().err
        assert message in error and error.count('\n') == 1 and 'Traceback' not in error
        assert [file.name for file in tmp_path.iterdir()] == ['old.py']
    old.write_text(WHOLE, encoding='utf-8')
    for arguments, message in (
        ((tmp_path / 'lost.py', new), 'lost.py does not exist'),
        ((old, old), 'old.py exists; name a new file'),
        ((old, tmp_path / 'new.yaml'), 'does not end in .py'),
    ):
        assert run(TOOL, *arguments) == 2
        assert message in capfd.readouterr().err
    assert old.read_text(encoding='utf-8') == WHOLE


def test_what_is_wrong_with_the_new_config_is_named(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    old, new = tmp_path / 'old.py', tmp_path / 'new.py'
    old.write_text(WHOLE.replace('embed_dim=192', 'embed_dimm=192') + 'distill = dict(t=3)\n')
    assert run(TOOL, old, new) == 2
    assert 'new.py: model.decode_head.embed_dimm: did you mean' in capfd.readouterr().err
    assert "# No equal here: distill={'t': 3}" in new.read_text(encoding='utf-8')
