_base_ = './default_runtime.py'
default_hooks = dict(
    logger=dict(interval=40),
    checkpoint=dict(interval=150, max_keep_ckpts=1),
)
