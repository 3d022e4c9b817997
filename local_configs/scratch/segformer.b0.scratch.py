# Baseline from scratch, at half resolution: no ImageNet weights, 1,200 iterations of batch 8.
_base_ = [
    '../_base_/models/segformer_b0.py',
    '../_base_/datasets/camvid_128x160.py',
    '../_base_/schedules/adamw_scratch.py',
    '../_base_/default_runtime.py',
]
model = dict(pretrained=None)
default_hooks = dict(checkpoint=dict(interval=400, max_keep_ckpts=1))
work_dir = 'work_dirs/segformer_b0_scratch_baseline'
