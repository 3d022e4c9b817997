# `pretrained_kd.py` on one GPU: longer trainings, the step in a CUDA graph.
_base_ = './pretrained_kd.py'

study = dict(
    options={
        'train_cfg.max_iters': 2000,
        'train_cfg.val_interval': 1000,
        'cuda_graph': True,
    },
    runs={
        'teacher': dict(options={'train_cfg.max_iters': 4000, 'train_cfg.val_interval': 2000}),
        'none-longer': dict(options={'train_cfg.max_iters': 3000, 'train_cfg.val_interval': 1000}),
    },
)
