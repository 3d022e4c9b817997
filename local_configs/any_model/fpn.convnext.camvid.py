# Teacher: a CNN of timm, ConvNeXt-Tiny. Its ImageNet weights: model.pretrained=FILE, where FILE is
# timm's model.safetensors.
_base_ = './fpn.r50.camvid.py'
model = dict(
    backbone=dict(_delete_=True, type='TIMMBackbone', model_name='convnext_tiny', pretrained=False),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
work_dir = 'work_dirs/fpn_convnext_camvid_teacher'
