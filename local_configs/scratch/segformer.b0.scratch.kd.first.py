# The setting of the first experiments: three losses at weight 1.
_base_ = './segformer.b0.scratch.py'
model = dict(
    type='KDEncoderDecoder',
    teacher=dict(
        config='local_configs/scratch/fpn.r18.scratch.py',
        checkpoint='work_dirs/fpn_r18_scratch_teacher/iter_2400.pth',
    ),
    kd_losses=dict(
        kl_loss=dict(type='KLDivergenceLoss', temperature=4.0, loss_weight=1.0),
        at_loss=dict(type='AttentionTransferLoss', loss_weight=1.0),
        sp_loss=dict(type='SimilarityPreservingLoss', loss_weight=1.0),
    ),
)
work_dir = 'work_dirs/segformer_b0_scratch_kd_first'
