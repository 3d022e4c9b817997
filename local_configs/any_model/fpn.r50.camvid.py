# Teacher: a CNN of mmsegmentation, ResNet-50 with the semantic FPN decoder. Its ImageNet weights:
# model.pretrained='open-mmlab://resnet50_v1c' (a download) or a file.
_base_ = [
    '../_base_/models/fpn_r18.py',
    '../_base_/datasets/camvid_512x512.py',
    '../_base_/schedules/adamw_40k.py',
    '../_base_/default_runtime.py',
]
model = dict(backbone=dict(depth=50), neck=dict(in_channels=[256, 512, 1024, 2048]))
optim_wrapper = dict(optimizer=dict(lr=1e-4))
work_dir = 'work_dirs/fpn_r50_camvid_teacher'
