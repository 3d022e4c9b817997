# Teacher, trained for 60,000 iterations.
_base_ = './segformer.b2.512x512.camvid.py'
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type='PolyLR', eta_min=0.0, power=1.0, by_epoch=False, begin=1500, end=60000),
]
train_cfg = dict(max_iters=60000)
work_dir = 'work_dirs/segformer_b2_camvid_teacher_60k'
