# Student: Lite0 taught by Lite2, both with the FPN decoder.
_base_ = './fpn.lite0.camvid.py'
model = dict(
    type='KDEncoderDecoder',
    teacher=dict(
        config='local_configs/efficientnet_lite/fpn.lite2.camvid.py',
        checkpoint='work_dirs/fpn_lite2_camvid_teacher/iter_900.pth',
    ),
    kd_losses=dict(
        cwd_loss=dict(type='ChannelWiseDivergence', temperature=4.0, loss_weight=3.0),
    ),
)
work_dir = 'work_dirs/fpn_lite0_camvid_kd'
