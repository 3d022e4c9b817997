# Teacher from scratch: a CNN, which learns more from 367 images than a transformer without
# pretraining does. It may train for longer than its student.
_base_ = [
    '../_base_/models/fpn_r18.py',
    '../_base_/datasets/camvid_128x160.py',
    '../_base_/schedules/adamw_scratch.py',
    '../_base_/default_runtime.py',
]
optim_wrapper = dict(optimizer=dict(lr=1e-3))
train_cfg = dict(max_iters=2400)
default_hooks = dict(checkpoint=dict(interval=400, max_keep_ckpts=1))
work_dir = 'work_dirs/fpn_r18_scratch_teacher'
