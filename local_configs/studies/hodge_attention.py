# Attention flow of MiT's stage 4: SegFormer-B2 teaches B0 which tokens attend to which more than
# they are attended to. Controls: the same with permuted heads.
_CAMVID = 'local_configs/segformer/{0}/segformer.{1}.512x512.camvid'
_NONE = {f'model.kd_losses.{name}_loss': None for name in ('kl', 'at', 'sp')}


def _attention(**settings):
    share = dict(type='GradientShare', share=0.2)
    loss = dict(type='AttentionFlowLoss', loss_weight=share, **settings)
    return dict(
        config=f'{_CAMVID.format("B0", "b0")}.kd.py',
        needs={'model.teacher.checkpoint': 'teacher'},
        options=_NONE | {'model.kd_losses.attention_loss': loss},
    )


study = dict(
    baseline='none',
    seeds=[0, 1, 2],
    controls={
        'both': ['permuted'],
        'exact': ['permuted-exact'],
        'cyclic': ['permuted-cyclic'],
    },
    runs={
        'none': dict(config=f'{_CAMVID.format("B0", "b0")}.py'),
        'teacher': dict(config=f'{_CAMVID.format("B2", "b2")}.py', seeds=[0]),
        'both': _attention(),
        'exact': _attention(cyclic_weight=0.0),
        'cyclic': _attention(exact_weight=0.0),
        'permuted': _attention(permute_heads=True),
        'permuted-exact': _attention(cyclic_weight=0.0, permute_heads=True),
        'permuted-cyclic': _attention(exact_weight=0.0, permute_heads=True),
    },
)
