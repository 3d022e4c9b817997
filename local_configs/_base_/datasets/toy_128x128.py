# Generated street scenes, 160x120, in CamVid's 12 classes; nothing to download.
dataset_type = 'ToyCamVidDataset'
crop_size = (128, 128)

train_pipeline = [
    dict(type='LoadToyScene'),
    # mmseg's RandomResize, RandomCrop, RandomFlip and PhotoMetricDistortion, bit for bit.
    dict(
        type='SegAugment',
        scale=(160, 120),
        ratio_range=(0.9, 1.5),
        cat_max_ratio=0.75,
    ),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadToyScene'),
    dict(type='PackSegInputs'),
]

train_dataloader = dict(
    batch_size=2,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='SeededInfiniteSampler', shuffle=True),
    dataset=dict(type=dataset_type, split='train', num_images=96, pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type=dataset_type, split='val', num_images=24, pipeline=test_pipeline),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type=dataset_type, split='test', num_images=48, pipeline=test_pipeline),
)

val_evaluator = dict(type='SegmentationMetric')
test_evaluator = dict(type='SegmentationMetric')
