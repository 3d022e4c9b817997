# Each loss alone, each pair and all three, compared with no distillation; three seeds each.
_KD = 'local_configs/segformer/B0/segformer.b0.512x512.camvid.kd.py'
_NEEDS = {'model.teacher.checkpoint': 'teacher'}
_KL, _AT, _SP = (f'model.kd_losses.{name}_loss' for name in ('kl', 'at', 'sp'))

study = dict(
    baseline='none',
    seeds=[0, 1, 2],
    runs={
        'none': dict(config='local_configs/segformer/B0/segformer.b0.512x512.camvid.py'),
        'teacher': dict(
            config='local_configs/segformer/B2/segformer.b2.512x512.camvid.py', seeds=[0]
        ),
        # A loss that is None is left out.
        'KL': dict(config=_KD, needs=_NEEDS, options={_AT: None, _SP: None}),
        'AT': dict(config=_KD, needs=_NEEDS, options={_KL: None, _SP: None}),
        'SP': dict(config=_KD, needs=_NEEDS, options={_KL: None, _AT: None}),
        'KL+AT': dict(config=_KD, needs=_NEEDS, options={_SP: None}),
        'KL+SP': dict(config=_KD, needs=_NEEDS, options={_AT: None}),
        'AT+SP': dict(config=_KD, needs=_NEEDS, options={_KL: None}),
        'KL+AT+SP': dict(config=_KD, needs=_NEEDS),
    },
)
