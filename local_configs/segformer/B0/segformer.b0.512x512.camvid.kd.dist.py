# Student with DIST, at the authors' settings for segmentation.
_base_ = './segformer.b0.512x512.camvid.kd.py'
model = dict(
    kd_losses=dict(
        _delete_=True,
        dist_loss=dict(type='DISTLoss', temperature=1.0, beta=1.0, gamma=1.0, loss_weight=1.0),
    ),
)
work_dir = 'work_dirs/segformer_b0_camvid_student_kd_dist'
