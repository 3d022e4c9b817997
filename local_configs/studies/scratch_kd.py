# Without pretrained weights, on a CPU in two hours: the losses of the first experiments and the
# best losses, compared with the baseline; five seeds each. Results: docs/results.md.
_TEACHER = {'model.teacher.checkpoint': 'teacher'}

study = dict(
    baseline='baseline',
    seeds=[0, 1, 2, 3, 4],
    test=True,
    # The last checkpoint counts.
    options={'optim_wrapper.type': 'Bf16OptimWrapper', 'train_cfg.val_interval': 1200},
    runs=dict(
        baseline=dict(config='local_configs/scratch/segformer.b0.scratch.py'),
        teacher=dict(
            config='local_configs/scratch/fpn.r18.scratch.py',
            seeds=[0],
            options={'train_cfg.val_interval': 2400},
        ),
        first=dict(config='local_configs/scratch/segformer.b0.scratch.kd.first.py', needs=_TEACHER),
        best=dict(config='local_configs/scratch/segformer.b0.scratch.kd.best.py', needs=_TEACHER),
    ),
)
