# Learning rate 3e-5 or 2e-5, warm-up over 1,500 or 2,000 iterations; the rest is the baseline.
_CONFIG = 'local_configs/segformer/B0/segformer.b0.512x512.camvid.py'
_LR = 'optim_wrapper.optimizer.lr'
_WARM_UP_2000 = {'param_scheduler.0.end': 2000, 'param_scheduler.1.begin': 2000}

study = dict(
    baseline='lr3e-5-warmup1500',
    runs={
        'lr3e-5-warmup1500': dict(config=_CONFIG),
        'lr2e-5-warmup1500': dict(config=_CONFIG, options={_LR: 2e-5}),
        'lr3e-5-warmup2000': dict(config=_CONFIG, options=_WARM_UP_2000),
        'lr2e-5-warmup2000': dict(config=_CONFIG, options={_LR: 2e-5, **_WARM_UP_2000}),
    },
)
