# Teacher with stronger augmentation: a wider range of scales, small rotations, erased patches.
_base_ = './segformer.b2.512x512.camvid.py'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(480, 360), ratio_range=(0.5, 2.5), keep_ratio=True),
    dict(type='RandomRotate', prob=0.5, degree=10, pad_val=0, seg_pad_val=255),
    dict(type='RandomCrop', cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion', brightness_delta=48, saturation_range=(0.4, 1.6)),
    dict(type='RandomCutOut', prob=0.5, n_holes=(1, 4), cutout_ratio=[(0.05, 0.05), (0.1, 0.1)]),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
work_dir = 'work_dirs/segformer_b2_camvid_teacher_aug'
