# Student: Lite0 taught by Lite2, both with SegFormer's head; the losses of the first experiments.
_base_ = './segformer.lite0.camvid.py'
model = dict(
    type='KDEncoderDecoder',
    teacher=dict(
        config='local_configs/efficientnet_lite/segformer.lite2.camvid.py',
        checkpoint='work_dirs/segformer_lite2_camvid_teacher/iter_900.pth',
    ),
    kd_losses=dict(
        kl_loss=dict(type='KLDivergenceLoss', temperature=4.0, loss_weight=1.0),
        at_loss=dict(type='AttentionTransferLoss', loss_weight=1.0),
        sp_loss=dict(type='SimilarityPreservingLoss', loss_weight=1.0),
    ),
)
work_dir = 'work_dirs/segformer_lite0_camvid_kd'
