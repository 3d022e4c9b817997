# Student on generated scenes: the baseline, and a teacher with three losses.
_base_ = './segformer.b0.toy.py'
model = dict(
    type='KDEncoderDecoder',
    teacher=dict(
        config='local_configs/toy/segformer.b2.toy.py',
        checkpoint='work_dirs/segformer_b2_toy_teacher/iter_300.pth',
    ),
    kd_losses=dict(
        kl_loss=dict(type='KLDivergenceLoss', temperature=4.0, loss_weight=1.0),
        at_loss=dict(type='AttentionTransferLoss', loss_weight=1.0),
        sp_loss=dict(type='SimilarityPreservingLoss', loss_weight=1.0),
    ),
)
work_dir = 'work_dirs/segformer_b0_toy_student_kd'
