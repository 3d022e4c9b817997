# Student: a CNN of timm, MobileNetV3 with the semantic FPN decoder, taught by SegFormer-B2. Its
# ImageNet weights: model.pretrained=FILE, where FILE is timm's model.safetensors.
_base_ = './fpn.r50.camvid.py'
model = dict(
    type='KDEncoderDecoder',
    backbone=dict(
        _delete_=True,
        type='TIMMBackbone',
        model_name='mobilenetv3_large_100',
        out_indices=(1, 2, 3, 4),
        pretrained=False,
    ),
    neck=dict(in_channels=[24, 40, 112, 960]),
    teacher=dict(
        config='local_configs/segformer/B2/segformer.b2.512x512.camvid.py',
        checkpoint='work_dirs/segformer_b2_camvid_teacher/iter_40000.pth',
    ),
    kd_losses=dict(
        kl_loss=dict(type='KLDivergenceLoss', temperature=4.0, loss_weight=1.0),
        at_loss=dict(type='AttentionTransferLoss', loss_weight=1.0),
    ),
)
work_dir = 'work_dirs/fpn_mobilenetv3_camvid_kd'
