# SegFormer-B0: MiT-B0 and the all-MLP head.
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='BatchDataPreProcessor',  # mmseg's SegDataPreProcessor, a batch at a time
        mean=[123.675, 116.28, 103.53],  # ImageNet, RGB
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,  # size: the config's crop_size
    ),
    pretrained='pretrained/mit_b0.pth',
    backbone=dict(type='mit_b0', drop_path_rate=0.1),
    decode_head=dict(
        type='SegFormerHead',
        in_channels=[32, 64, 160, 256],
        in_index=[0, 1, 2, 3],
        embed_dim=256,
        dropout_ratio=0.1,
        num_classes=12,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(
            type='CrossEntropyLoss',
            use_sigmoid=False,
            loss_weight=1.0,
            avg_non_ignore=True,  # the mean over the pixels that are not ignored, as in torch
        ),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
