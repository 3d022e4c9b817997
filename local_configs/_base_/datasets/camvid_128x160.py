# CamVid at half its size, 240x180, in crops of 128x160: what a CPU trains from scratch in minutes.
# Predictions are scored at 480x360, like those of the other CamVid configs.
_base_ = './camvid_512x512.py'
crop_size = (128, 160)
_train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(
        type='SegAugment',
        scale=(240, 180),
        ratio_range=(0.5, 2.0),
        cat_max_ratio=0.75,
    ),
    dict(type='PackSegInputs', meta_keys=('img_path', 'seg_map_path', 'ori_shape')),
]
_test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(240, 180), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(batch_size=8, num_workers=1, dataset=dict(pipeline=_train_pipeline))
val_dataloader = dict(num_workers=1, dataset=dict(pipeline=_test_pipeline))
test_dataloader = dict(num_workers=1, dataset=dict(pipeline=_test_pipeline))
