# The finalists of `hodge.py` at equal seconds instead of equal iterations: a loss that takes longer
# per step trains for fewer iterations.
_base_ = './hodge_finals.py'

study = dict(
    # About 500 iterations without a teacher on one core of the CPU that was measured.
    options={'train_cfg.time_budget': 120, 'train_cfg.val_interval': 5000},
    runs=dict(
        teacher=dict(options={'train_cfg.time_budget': None}),
        # The controls were compared at equal iterations.
        **dict.fromkeys(['flow-random', 'mse', 'permuted+1', 'cwd-other', 'cwd-labels']),
    ),
    controls=dict(
        _delete_=True,
        **{run: ['none', 'cwd'] for run in ('flow', 'flow-gradient', 'flow-curl', 'sobolev+1')},
    ),
)
