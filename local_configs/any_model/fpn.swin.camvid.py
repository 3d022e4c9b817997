# Teacher: a transformer of timm, Swin-Tiny, for images of any size. Its ImageNet weights:
# model.pretrained=FILE, where FILE is timm's model.safetensors.
_base_ = './fpn.r50.camvid.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='TIMMBackbone',
        model_name='swin_tiny_patch4_window7_224',
        strict_img_size=False,
        pretrained=False,
    ),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
work_dir = 'work_dirs/fpn_swin_camvid_teacher'
