# `pretrained_kd.py` with students that train twice as long: which gains and losses are left?
_base_ = './pretrained_kd.py'

study = dict(
    options={'train_cfg.max_iters': 600, 'train_cfg.val_interval': 600},
    runs={'none-longer': None, 'kl': None, 'kl-t1': None, 'cwd-labels': None},
    controls=dict(_delete_=True),
)
