"""Settings of every head that mmseg has."""

from __future__ import annotations

from conftest import TINY_BACKBONE

CLASSES, SIZE = 5, 64
BN = dict(type='BN', requires_grad=True)
CE = dict(type='CrossEntropyLoss')
OHEM = dict(type='OhemCrossEntropy', min_kept=9)
LAST = dict(in_channels=32, in_index=3, channels=8)
ALL = dict(in_channels=list(TINY_BACKBONE['embed_dims']), in_index=[0, 1, 2, 3], channels=8)
CNN = dict(type='ResNet', depth=18, base_channels=4, norm_cfg=BN)
VIT = dict(
    type='VisionTransformer',
    img_size=(SIZE, SIZE),
    patch_size=16,
    embed_dims=16,
    num_layers=4,
    num_heads=2,
    out_indices=(0, 1, 2, 3),
)
OF_VIT = dict(in_channels=16, in_index=3, channels=8)
STDC = dict(
    type='STDCContextPathNet',
    backbone_cfg=dict(
        type='STDCNet',
        stdc_type='STDCNet1',
        in_channels=3,
        channels=(4, 8, 16, 32, 32),
        bottleneck_type='cat',
        num_convs=4,
        norm_cfg=BN,
        act_cfg=dict(type='ReLU'),
        with_final_conv=False,
    ),
    last_in_channels=(32, 32),
    out_channels=8,
    ffm_cfg=dict(in_channels=24, out_channels=16, scale_factor=4),
)
KERNEL_UPDATE = dict(
    type='KernelUpdateHead',
    num_classes=CLASSES,
    num_ffn_fcs=2,
    num_heads=2,
    num_mask_fcs=1,
    feedforward_channels=8,
    in_channels=8,
    out_channels=8,
    kernel_updator_cfg=dict(
        type='KernelUpdator',
        in_channels=8,
        feat_channels=8,
        out_channels=8,
        act_cfg=dict(type='ReLU'),
        norm_cfg=dict(type='LN'),
    ),
)

# By the name of the head: its settings, and a backbone where it needs one of its own.
HEADS = dict(
    ANNHead=dict(ALL, in_channels=[16, 32], in_index=[2, 3], project_channels=4),
    APCHead=dict(LAST, pool_scales=(1, 2)),
    ASPPHead=dict(LAST, dilations=(1, 2)),
    DAHead=dict(LAST, pam_channels=4),
    DDRHead=dict(
        in_channels=32,
        channels=8,
        loss_decode=[CE, CE],
        backbone=dict(type='DDRNet', in_channels=3, channels=8, ppm_channels=8, norm_cfg=BN),
    ),
    DMHead=dict(LAST, filter_sizes=(1, 3), backbone=CNN),
    DNLHead=dict(LAST),
    DPTHead=dict(
        OF_VIT,
        in_channels=[16] * 4,
        in_index=[0, 1, 2, 3],
        input_transform='multiple_select',
        embed_dims=16,
        post_process_channels=[8, 8, 8, 8],
        backbone=VIT | dict(output_cls_token=True),
    ),
    DepthwiseSeparableASPPHead=dict(LAST, dilations=(1, 2), c1_in_channels=8, c1_channels=4),
    DepthwiseSeparableFCNHead=dict(LAST),
    EMAHead=dict(LAST, ema_channels=8, num_bases=4, num_stages=2),
    EncHead=dict(
        ALL,
        num_codes=4,
        use_se_loss=True,
        loss_se_decode=dict(type='CrossEntropyLoss', use_sigmoid=True),
    ),
    FCNHead=dict(LAST),
    FPNHead=dict(ALL, in_channels=[8, 16, 16, 32], feature_strides=[4, 8, 16, 32]),
    GCHead=dict(LAST),
    ISAHead=dict(LAST, isa_channels=4, down_factor=(2, 2)),
    IterativeDecodeHead=dict(
        num_stages=2,
        kernel_generate_head=dict(
            LAST, type='FCNHead', num_classes=CLASSES, norm_cfg=BN, loss_decode=CE
        ),
        kernel_update_head=[KERNEL_UPDATE, KERNEL_UPDATE],
    ),
    # Its pooling window of 49 needs a large map: stride 4 of 200x200.
    LRASPPHead=dict(
        in_channels=(4, 8, 16),
        in_index=(0, 1, 2),
        channels=8,
        branch_channels=(4, 8),
        input_transform='multiple_select',
        backbone=CNN | dict(strides=(1, 1, 1, 1)),
    ),
    LightHamHead=dict(ALL, in_index=[0, 1, 2, 3], ham_channels=8, ham_kwargs=dict(MD_R=4)),
    NLHead=dict(LAST),
    OCRHead=dict(LAST, ocr_channels=4),
    PIDHead=dict(
        in_channels=32,
        channels=8,
        loss_decode=[CE, OHEM, dict(type='BoundaryLoss'), OHEM],
        backbone=dict(
            type='PIDNet',
            in_channels=3,
            channels=8,
            ppm_channels=8,
            num_stem_blocks=1,
            num_branch_blocks=1,
            norm_cfg=BN,
        ),
    ),
    PSPHead=dict(LAST, pool_scales=(1, 2)),
    SETRMLAHead=dict(
        OF_VIT,
        in_channels=[16] * 4,
        in_index=[0, 1, 2, 3],
        channels=16,
        mla_channels=4,
        up_scale=2,
        backbone=VIT,
    ),
    SETRUPHead=dict(OF_VIT, backbone=VIT),
    STDCHead=dict(in_channels=8, in_index=1, channels=8, num_convs=1, backbone=STDC),
    SegFormerHead=dict(in_channels=ALL['in_channels'], embed_dim=8),
    SegformerHead=dict(ALL),
    SegmenterMaskTransformerHead=dict(
        LAST, num_layers=1, num_heads=2, embed_dims=8, norm_cfg=dict(type='LN')
    ),
    UPerHead=dict(ALL, pool_scales=(1, 2)),
)

# mmseg's heads that need compiled operators or mmdet, and the error without them.
REFUSED = dict(
    CCHead=(dict(LAST), 'CCHead: Please install onedl-mmcv'),
    PSAHead=(dict(LAST, mask_size=(2, 2)), 'PSAHead: Please install onedl-mmcv'),
    Mask2FormerHead=(dict(LAST), 'Please install onedl-mmdetection to use Mask2FormerHead'),
    MaskFormerHead=(dict(LAST), 'MaskFormerHead: '),
    PointHead=(dict(LAST, in_channels=[32], in_index=[3]), 'PointHead: Please install onedl-mmcv'),
)
# Heads for other tasks (text and image, depth), and parts of a head.
OTHERS = {'SideAdapterCLIPHead', 'VPDDepthHead', 'KernelUpdateHead', 'KernelUpdator'}
