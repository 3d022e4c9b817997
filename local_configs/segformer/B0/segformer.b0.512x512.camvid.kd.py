# Student: the baseline, and a teacher with three losses.
_base_ = './segformer.b0.512x512.camvid.py'
model = dict(
    type='KDEncoderDecoder',
    teacher=dict(
        config='local_configs/segformer/B2/segformer.b2.512x512.camvid.py',
        checkpoint='work_dirs/segformer_b2_camvid_teacher/iter_40000.pth',
    ),
    kd_losses=dict(
        kl_loss=dict(type='KLDivergenceLoss', temperature=4.0, loss_weight=1.0),
        at_loss=dict(type='AttentionTransferLoss', loss_weight=1.0),
        sp_loss=dict(type='SimilarityPreservingLoss', loss_weight=1.0),
    ),
)
work_dir = 'work_dirs/segformer_b0_camvid_student_kd'
