# Student: SegFormer-B0 without pretrained weights, taught by the pretrained Lite2 with SegFormer's
# head.
_base_ = './segformer.b0.camvid.py'
model = dict(
    type='KDEncoderDecoder',
    teacher=dict(
        config='local_configs/efficientnet_lite/segformer.lite2.camvid.py',
        checkpoint='work_dirs/segformer_lite2_camvid_teacher/iter_900.pth',
    ),
    kd_losses=dict(
        cwd_loss=dict(type='ChannelWiseDivergence', temperature=4.0, loss_weight=3.0),
        at_loss=dict(type='AttentionTransferLoss', loss_weight=1.0),
    ),
)
work_dir = 'work_dirs/segformer_b0_camvid_lite_kd'
