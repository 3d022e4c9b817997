# Student: SegFormer-B0, taught by ResNet-50.
_base_ = '../segformer/B0/segformer.b0.512x512.camvid.py'
model = dict(
    type='KDEncoderDecoder',
    teacher=dict(
        config='local_configs/any_model/fpn.r50.camvid.py',
        checkpoint='work_dirs/fpn_r50_camvid_teacher/iter_40000.pth',
    ),
    kd_losses=dict(
        kl_loss=dict(type='KLDivergenceLoss', temperature=4.0, loss_weight=1.0),
        at_loss=dict(type='AttentionTransferLoss', loss_weight=1.0),
    ),
)
work_dir = 'work_dirs/segformer_b0_camvid_kd_r50'
