# Baseline: SegFormer-B0 without pretrained weights, on the images and schedule of the others.
_base_ = [
    '../_base_/models/segformer_b0.py',
    '../_base_/datasets/camvid11_512x512.py',
    '../_base_/schedules/adamw_scratch.py',
    '../_base_/default_runtime.py',
]
crop_size = (320, 320)
model = dict(pretrained=None, decode_head=dict(num_classes=11))
train_dataloader = dict(batch_size=6)
train_cfg = dict(max_iters=900, val_interval=300)
default_hooks = dict(checkpoint=dict(interval=300, max_keep_ckpts=1))
work_dir = 'work_dirs/segformer_b0_camvid_lite_baseline'
