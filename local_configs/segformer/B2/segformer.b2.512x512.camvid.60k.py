# Teacher, trained for 60,000 iterations.
_base_ = './segformer.b2.512x512.camvid.py'
train_cfg = dict(max_iters=60000)
work_dir = 'work_dirs/segformer_b2_camvid_teacher_60k'
