# Student under the standard protocol: 11 classes, Unlabelled ignored.
_base_ = './segformer.b0.512x512.camvid11.py'
model = dict(
    type='KDEncoderDecoder',
    teacher=dict(
        config='local_configs/segformer/B2/segformer.b2.512x512.camvid11.py',
        checkpoint='work_dirs/segformer_b2_camvid11_teacher/iter_40000.pth',
    ),
    kd_losses=dict(
        kl_loss=dict(type='KLDivergenceLoss', temperature=4.0, loss_weight=1.0),
        at_loss=dict(type='AttentionTransferLoss', loss_weight=1.0),
        sp_loss=dict(type='SimilarityPreservingLoss', loss_weight=1.0),
    ),
)
work_dir = 'work_dirs/segformer_b0_camvid11_student_kd'
