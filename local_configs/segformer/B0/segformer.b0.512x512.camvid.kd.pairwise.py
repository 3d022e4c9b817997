# Student with the pair-wise loss of structured distillation, at the authors' weight and scale.
_base_ = './segformer.b0.512x512.camvid.kd.py'
model = dict(
    kd_losses=dict(
        _delete_=True,
        pairwise_loss=dict(type='PairwiseLoss', scale=0.5, loss_weight=1.0),
    ),
)
work_dir = 'work_dirs/segformer_b0_camvid_student_kd_pairwise'
