"""Configs of mmsegmentation 0.x and NVlabs/SegFormer, and what their rules say."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import run
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.optim import build_optim_wrapper
from mmseg.registry import MODELS, PARAM_SCHEDULERS
from PIL import Image

from mmseg_kd.config import load_config

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


def rate_of_0x(schedule: dict, base: float, iteration: int, length: int) -> float:
    """The learning rate of mmcv 1.x's `LrUpdaterHook`, with `by_epoch=False`."""
    low, progress = schedule.get('min_lr', 0.0), iteration / length
    if schedule['policy'] == 'poly':
        rate = (base - low) * (1 - progress) ** schedule.get('power', 1.0) + low
    elif schedule['policy'] == 'CosineAnnealing':
        rate = low + 0.5 * (base - low) * (math.cos(math.pi * progress) + 1)
    elif schedule['policy'] == 'step':
        steps = schedule['step']
        count = iteration // steps if isinstance(steps, int) else len(steps)
        for i, step in enumerate([] if isinstance(steps, int) else steps):
            if iteration < step:
                count = i
                break
        rate = max(base * schedule.get('gamma', 0.1) ** count, low)
    else:
        rate = base
    warmup, end = schedule.get('warmup'), schedule.get('warmup_iters', 0)
    if warmup is None or iteration >= end:
        return rate
    ratio = schedule.get('warmup_ratio', 0.1)
    if warmup == 'constant':
        return rate * ratio
    if warmup == 'linear':
        return rate * (1 - (1 - iteration / end) * (1 - ratio))
    return rate * ratio ** (1 - iteration / end)


@pytest.mark.parametrize(
    'schedule',
    [
        dict(policy='poly', power=1.0, min_lr=0.0, warmup='linear', warmup_iters=60,
             warmup_ratio=1e-6),
        dict(policy='poly', power=0.9, min_lr=1e-4),
        dict(policy='poly', power=0.9, min_lr=1e-5, warmup='linear', warmup_iters=60,
             warmup_ratio=0.0),
        dict(policy='poly', warmup='exp', warmup_iters=30, warmup_ratio=0.01),
        dict(policy='CosineAnnealing', min_lr=1e-6, warmup='constant', warmup_iters=20),
        dict(policy='step', step=[100, 300]),
        dict(policy='step', step=150, gamma=0.5, min_lr=2e-5),
        dict(policy='fixed', warmup='linear', warmup_iters=10),
    ],
)  # fmt: skip
def test_the_learning_rate_is_that_of_0x(tmp_path: Path, schedule: dict) -> None:
    text = NVLABS.replace(SCHEDULE, f'dict(**{schedule!r}, by_epoch=False)')
    cfg = load_config(str(migrated(tmp_path, data=NVLABS_DATA, old=text)))
    cfg.model.pretrained = None
    cfg.model.decode_head.norm_cfg.type = 'BN'
    model = MODELS.build(cfg.model)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    owner = {id(p): group for group in optimizer.param_groups for p in group['params']}
    (scheduler,) = cfg.param_scheduler
    assert scheduler.policy == schedule['policy']
    scheduler = PARAM_SCHEDULERS.build(
        dict(scheduler, end=400), default_args=dict(optimizer=optimizer)
    )
    optimizer.optimizer.step()
    for iteration in range(400):
        for name, parameter in model.named_parameters():
            if name in ('decode_head.linear_pred.weight', 'backbone.norm1.weight'):
                base = 6e-5 * (10 if 'head' in name else 1)
                expected = rate_of_0x(schedule, base, iteration, 400)
                assert owner[id(parameter)]['lr'] == pytest.approx(expected, rel=1e-12, abs=1e-18)
        scheduler.step()
    for name, parameter in model.named_parameters():
        group = owner[id(parameter)]
        assert group['initial_lr'] == pytest.approx(6e-5 * (10 if 'head' in name else 1))
        free = 'head' not in name and ('norm' in name or 'pos_block' in name)
        assert group['weight_decay'] == (0.0 if free else 0.01)


def test_a_config_of_nvlabs(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    new = migrated(tmp_path, data=NVLABS_DATA, old=NVLABS)
    printed = capfd.readouterr().out
    head = [line[2:] for line in new.read_text(encoding='utf-8').splitlines() if line[:1] == '#']
    assert head == printed.splitlines()[:-1]
    assert [line.partition(':')[0] for line in head[2:]] == [
        '- data', '- AlignResize',
    ]  # fmt: skip
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
    normal = (image.flip(0).float() - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[
        :, None, None
    ]
    height, width = image.shape[1:]
    assert out['inputs'].shape == (1, 3, 512, 512)
    assert torch.allclose(out['inputs'][0, :, :height, :width], normal, atol=1e-5)
    assert not out['inputs'][0, :, height:].any()
    assert (out['data_samples'][0].gt_sem_seg.data[0, height:] == 255).all()


def test_a_config_of_mmsegmentation_trains_and_is_tested(tmp_path: Path) -> None:
    picture(tmp_path)
    new = migrated(tmp_path, old=FCN.replace('{root!r}', repr(tmp_path.as_posix())))
    remarks = [line for line in new.read_text(encoding='utf-8').splitlines() if line[:3] == '# -']
    assert remarks == [
        "# - custom_hooks=[{'type': 'MyHook'}]",
        "# - workflow=[('train', 1), ('val', 1)]",
        '# - data.train.pipeline: MyOwnStep is not registered here and is left out',
        '# - MultiScaleFlipAug: it becomes one scale; write a tta_pipeline',
        '# - log_config.hooks: TensorboardLoggerHook; write visualizer.vis_backends',
        '# - log_config.hooks: PaviLoggerHook; write visualizer.vis_backends',
    ]
    cfg = load_config(str(new))
    dataset = cfg.train_dataloader.dataset
    assert dataset.type == 'ConcatDataset' and len(dataset.datasets) == 2
    own = dataset.datasets[0]
    assert (own.type, own.data_prefix) == (
        'BaseSegDataset', dict(img_path='img', seg_map_path='ann')
    )  # fmt: skip
    assert own.metainfo.classes == ('a', 'b', 'c') and own.reduce_zero_label
    assert own.pipeline[2] == dict(
        type='RandomChoiceResize', scales=[(96, 64), (128, 96)], keep_ratio=True
    )
    assert own.pipeline[4].prob == 0.25
    assert cfg.model.test_cfg == dict(mode='slide', crop_size=(64, 64), stride=(42, 42))
    assert cfg.model.data_preprocessor.test_cfg == dict(size_divisor=32)
    assert cfg.val_dataloader.dataset.pipeline[1].scale == (96, 64)
    assert cfg.randomness.seed == 7 and cfg.optim_wrapper.clip_grad == dict(max_norm=1.0)
    work_dir = tmp_path / 'run'
    assert run('train.py', new, '--work-dir', work_dir) == 0
    assert [file.name for file in work_dir.glob('iter_*.pth')] == ['iter_4.pth']
    checkpoint = work_dir / 'iter_4.pth'
    assert run('test.py', new, checkpoint, '--work-dir', tmp_path / 'test') == 0


def test_other_settings_of_0x(tmp_path: Path) -> None:
    text = NVLABS.replace(
        'optimizer_config = dict()',
        """fp16 = dict(loss_scale=512.)
optimizer_config = dict(type='GradientCumulativeFp16OptimizerHook', cumulative_iters=4)""",
    )
    text = text.replace("metric='mIoU'", "metric=['mIoU', 'mDice'], save_best='mDice', extra=1")
    text = text.replace('resume_from = None', "resume_from = 'iter_9.pth'")
    text = text.replace(
        "dict(type='TextLoggerHook', by_epoch=False)",
        "dict(type='WandbLoggerHook', init_kwargs=dict(project='a'))",
    )
    data = NVLABS_DATA.replace(
        'img_scale=(480, 360), ratio_range=(0.5, 2.0)', 'img_scale=[(480, 360), (960, 720)]'
    )
    data = data.replace("dataset_type = 'CamVidDataset'", "dataset_type = 'MyOwnDataset'")
    data = data.replace(
        "img_dir='train', ann_dir='trainannot'", "img_dir=['a', 'b'], ann_dir=['c', 'd']"
    )
    new = migrated(tmp_path, data=data, old=text)
    remarks = [line for line in new.read_text(encoding='utf-8').splitlines() if line[:3] == '# -']
    assert '# - data.train: MyOwnDataset becomes BaseSegDataset; write its classes' in remarks[0]
    assert '# - evaluation.extra=1' in remarks
    cfg = load_config(str(new))
    assert (cfg.resume, cfg.load_from) == (True, 'iter_9.pth')
    wrapper = cfg.optim_wrapper
    assert (wrapper.type, wrapper.loss_scale) == ('AmpOptimWrapper', 512.0)
    assert wrapper.accumulative_counts == 4
    assert cfg.val_evaluator == dict(type='IoUMetric', iou_metrics=['mIoU', 'mDice'])
    assert cfg.default_hooks.checkpoint.save_best == 'mDice'
    parts = cfg.train_dataloader.dataset.datasets
    assert [part.data_prefix.seg_map_path for part in parts] == ['c', 'd']
    resize = Compose(parts[0].pipeline[:3])
    loaded, sizes = picture(tmp_path), set()
    for seed in range(200):
        np.random.seed(seed)  # noqa: NPY002
        height, width = resize(copy.deepcopy(loaded))['img'].shape[:2]
        # Resize.random_sample of 0.x: both edges from their own range.
        np.random.seed(seed)  # noqa: NPY002
        edges = [np.random.randint(a, b + 1) for a, b in ((480, 960), (360, 720))]  # noqa: NPY002
        factor = min(max(edges) / 160, min(edges) / 120)
        assert (width, height) == (int(160 * factor + 0.5), int(120 * factor + 0.5))
        sizes.add(width)
    assert min(sizes) < 560 and max(sizes) > 880


def test_a_checkpoint_of_0x_is_model_start_and_teacher(trained: Path, tmp_path: Path) -> None:
    saved = torch.load(trained / 'run' / 'iter_6.pth', map_location='cpu', weights_only=False)
    classes = saved['meta']['dataset_meta']['classes']
    head = {'weight': torch.zeros(12, 16, 1, 1), 'bias': torch.zeros(12)}
    weights = {f'decode_head.conv_seg.{key}': value for key, value in head.items()}
    old = tmp_path / 'iter_160000.pth'
    meta = dict(mmseg_version='0.11.0', CLASSES=classes, PALETTE=[[0, 0, 0]] * len(classes), iter=9)
    torch.save(dict(meta=meta, state_dict=weights | saved['state_dict']), old)
    config = trained / 'config.py'
    assert run('test.py', config, old, '--work-dir', tmp_path / 'test') == 0
    options = ('--cfg-options', 'train_cfg.max_iters=1', f'load_from={old.as_posix()}')
    assert run('train.py', config, '--work-dir', tmp_path / 'start', *options) == 0
    student = tmp_path / 'student.py'
    student.write_text(
        f"""_base_ = {config.as_posix()!r}
model = dict(
    type='KDEncoderDecoder',
    teacher=dict(config={config.as_posix()!r}, checkpoint={old.as_posix()!r}),
    kd_losses=dict(kl_loss=dict(type='KLDivergenceLoss', temperature=4.0, loss_weight=1.0)))
train_cfg = dict(max_iters=1)
""",
        encoding='utf-8',
    )
    assert run('train.py', student, '--work-dir', tmp_path / 'student') == 0


def test_mistakes_are_one_line(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    old, new = tmp_path / 'old.py', tmp_path / 'new.py'
    text = NVLABS.replace("_base_ = ['./data.py']", NVLABS_DATA).replace(
        'data = dict(samples_per_gpu=2)', ''
    )
    later = Config(dict(train_dataloader={}, model={})).pretty_text
    for content, message in (
        ('model = dict(', 'old.py, line 1'),
        ('a = 1', 'old.py: model is not a dict; name a whole config of 0.x'),
        (later, 'is a config of mmsegmentation 1.x already'),
        (text.replace("type='IterBasedRunner'", "type='EpochBasedRunner'"), 'by epochs'),
        (text.replace('min_lr=0.0, by_epoch=False', 'min_lr=0.0'), 'old.py: a training by epochs'),
        (text.replace('max_iters=400', 'max_epochs=4'), "write runner=dict(type='IterBased"),
        (text.replace("dict(type='LoadAnnotations')", '3'), 'old.py is not a config of 0.x'),
        (
            text.replace("backbone=dict(type='mit_b0', style='pytorch')", 'backbone=3'),
            'AttributeError',
        ),
    ):
        old.write_text(content, encoding='utf-8')
        assert run(TOOL, old, new) == 2, message
        error = capfd.readouterr().err
        assert message in error and error.count('\n') == 1 and 'Traceback' not in error
        assert [file.name for file in tmp_path.iterdir()] == ['old.py']
    old.write_text(text, encoding='utf-8')
    for arguments, message in (
        ((tmp_path / 'lost.py', new), 'lost.py does not exist'),
        ((old, old), 'old.py exists; name a new file'),
        ((old, tmp_path / 'new.yaml'), 'does not end in .py'),
    ):
        assert run(TOOL, *arguments) == 2
        assert message in capfd.readouterr().err
    assert old.read_text(encoding='utf-8') == text


def test_what_is_wrong_with_the_new_config_is_listed(tmp_path: Path) -> None:
    text = NVLABS.replace("type='mit_b0', style", "type='IMTRv21', style")
    text = text.replace('embed_dim=192', 'embed_dimm=192')
    text = text.replace("type='EncoderDecoder'", "type='MyDistiller'")
    text = text.replace("policy='poly'", "policy='cyclic', target_ratio=3")
    text += 'distill = dict(temperature=3)\nembed_dimm = 192\n'
    new = migrated(tmp_path, data=NVLABS_DATA, old=text).read_text(encoding='utf-8')
    assert '# - model.backbone: IMTRv21 is not registered here' in new
    assert '# - model: MyDistiller is not registered here' in new
    assert "# - lr_config.policy='cyclic'; LrUpdater has" in new
    assert '# - lr_config.target_ratio=3' in new
    assert '# - distill={' in new and '# - embed_dimm' not in new
    assert '# - to correct before it loads: model.decode_head.embed_dimm: did you ' in new
