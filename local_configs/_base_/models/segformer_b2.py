# SegFormer-B2: deeper and wider than B0, with a head of width 768.
_base_ = './segformer_b0.py'
model = dict(
    pretrained='pretrained/mit_b2.pth',
    backbone=dict(type='mit_b2'),
    decode_head=dict(in_channels=[64, 128, 320, 512], embed_dim=768),
)
