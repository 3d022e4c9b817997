# Student with channel-wise distillation of the logits, at the paper's weight and temperature.
_base_ = './segformer.b0.512x512.camvid.kd.py'
model = dict(
    kd_losses=dict(
        _delete_=True,
        cwd_loss=dict(type='ChannelWiseDivergence', temperature=4.0, loss_weight=3.0),
    ),
)
work_dir = 'work_dirs/segformer_b0_camvid_student_kd_cwd'
