# Student: SegFormer-B0, taught by ConvNeXt-Tiny. Attention transfer reads the stages of both.
_base_ = '../segformer/B0/segformer.b0.512x512.camvid.py'
model = dict(
    type='KDEncoderDecoder',
    teacher=dict(
        config='local_configs/any_model/fpn.convnext.camvid.py',
        checkpoint='work_dirs/fpn_convnext_camvid_teacher/iter_40000.pth',
    ),
    kd_losses=dict(
        kl_loss=dict(type='KLDivergenceLoss', temperature=4.0, loss_weight=1.0),
        at_loss=dict(
            type='AttentionTransferLoss',
            stages=['stage1', 'stage2', 'stage3', 'stage4'],
            loss_weight=1.0,
        ),
    ),
)
work_dir = 'work_dirs/segformer_b0_camvid_kd_convnext'
