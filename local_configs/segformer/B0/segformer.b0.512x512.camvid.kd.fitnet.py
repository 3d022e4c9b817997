# Student with FitNet: the last features, through an adapter from B0's channels to B2's.
_base_ = './segformer.b0.512x512.camvid.kd.py'
model = dict(
    kd_losses=dict(
        _delete_=True,
        fitnet_loss=dict(type='FitNetLoss', student_channels=256, teacher_channels=512),
    ),
)
work_dir = 'work_dirs/segformer_b0_camvid_student_kd_fitnet'
