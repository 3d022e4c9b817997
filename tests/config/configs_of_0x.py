"""Configs of mmsegmentation 0.x and NVlabs/SegFormer."""

from pathlib import Path

from conftest import run

TOOL = 'misc/migrate_config.py'
MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]

SCHEDULE = """dict(
    _delete_=True, policy='poly', warmup='linear', warmup_iters=60, warmup_ratio=1e-6, power=1.0,
    min_lr=0.0, by_epoch=False)"""
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
    _delete_=True, type='AdamW', lr=0.00006, betas=(0.9, 0.999), weight_decay=0.01,
    paramwise_cfg=dict(custom_keys={
        'pos_block': dict(decay_mult=0.), 'norm': dict(decay_mult=0.),
        'head': dict(lr_mult=10.)}))
optimizer_config = dict()
lr_config = SCHEDULE
runner = dict(type='IterBasedRunner', max_iters=400)
checkpoint_config = dict(by_epoch=False, interval=40)
evaluation = dict(interval=80, metric='mIoU')
log_config = dict(interval=20, hooks=[dict(type='TextLoggerHook', by_epoch=False)])
dist_params = dict(backend='nccl')
log_level = 'INFO'
load_from = None
resume_from = None
workflow = [('train', 1)]
cudnn_benchmark = False
""".replace('SCHEDULE', SCHEDULE)
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
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)),
    auxiliary_head=dict(
        type='FCNHead', in_channels=256, in_index=2, channels=16, num_convs=1, concat_input=False,
        dropout_ratio=0.1, num_classes=3, norm_cfg=norm_cfg, align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=0.4)))
train_cfg = dict()
test_cfg = dict(mode='slide', crop_size=(64, 64), stride=(42, 42))
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(type='Resize', img_scale=[(96, 64), (128, 96)], multiscale_mode='value'),
    dict(type='RandomCrop', crop_size=(64, 64), cat_max_ratio=0.75),
    dict(type='RandomFlip', flip_ratio=0.25),
    dict(type='MyOwnStep', amount=3),
    dict(type='Normalize', **img_norm_cfg),
    dict(type='Pad', size=(64, 64), pad_val=0, seg_pad_val=255),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img', 'gt_semantic_seg']),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiScaleFlipAug', img_scale=(96, 64), img_ratios=[0.5, 1.5], flip=True,
         transforms=[
             dict(type='Resize', keep_ratio=True), dict(type='RandomFlip'),
             dict(type='Normalize', **img_norm_cfg), dict(type='Pad', size_divisor=32),
             dict(type='ImageToTensor', keys=['img']), dict(type='Collect', keys=['img'])]),
]
own = dict(
    type='CustomDataset', data_root={root!r}, img_dir='img', ann_dir='ann', img_suffix='.png',
    reduce_zero_label=True, classes=('a', 'b', 'c'),
    palette=[[0, 0, 0], [1, 1, 1], [2, 2, 2]])
data = dict(
    samples_per_gpu=2, workers_per_gpu=0,
    train=[dict(pipeline=train_pipeline, **own), dict(pipeline=train_pipeline, **own)],
    val=dict(pipeline=test_pipeline, **own),
    test=dict(pipeline=test_pipeline, **own))
optimizer = dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0005)
optimizer_config = dict(grad_clip=dict(max_norm=1.0))
lr_config = dict(policy='poly', power=0.9, min_lr=1e-4, by_epoch=False)
runner = dict(type='IterBasedRunner', max_iters=4)
checkpoint_config = dict(by_epoch=False, interval=2, max_keep_ckpts=1)
evaluation = dict(interval=2, metric='mIoU', pre_eval=True)
log_config = dict(interval=1, hooks=[
    dict(type='TextLoggerHook'), dict(type='TensorboardLoggerHook'), dict(type='PaviLoggerHook')])
workflow = [('train', 1), ('val', 1)]
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
