# What makes a better teacher: longer training, stronger augmentation, another schedule.
_B2 = 'local_configs/segformer/B2/segformer.b2.512x512.camvid'

study = dict(
    baseline='40k',
    runs={
        '40k': dict(config=f'{_B2}.py'),
        '60k': dict(config=f'{_B2}.60k.py'),
        'aug': dict(config=f'{_B2}.aug.py'),
        # Stronger augmentation needs longer training.
        'aug-60k': dict(
            config=f'{_B2}.aug.py',
            options={'train_cfg.max_iters': 60000},
        ),
        # The learning rate of the SegFormer paper.
        'lr6e-5': dict(config=f'{_B2}.py', options={'optim_wrapper.optimizer.lr': 6e-5}),
        # Falls slowly first and fast at the end.
        'cosine': dict(
            config=f'{_B2}.py',
            options={
                'param_scheduler': [
                    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1500),
                    dict(type='CosineAnnealingLR', by_epoch=False, begin=1500),
                ]
            },
        ),
    },
)
