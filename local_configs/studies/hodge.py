# Which part of a teacher's map helps its student: values, edges, junctions or frequencies? First
# round: every loss and its controls at an equal share of the gradient. Results: docs/hodge.md.
_SCRATCH = 'local_configs/scratch'
# At equal weights their gradients would differ by orders of magnitude.
_SHARE = dict(type='GradientShare', share=0.4, until=200)


def _only(**loss):
    losses = dict(kl_loss=None, at_loss=None, sp_loss=None, kd_loss=dict(loss, loss_weight=_SHARE))
    return dict(
        config=f'{_SCRATCH}/segformer.b0.scratch.kd.first.py',
        needs={'model.teacher.checkpoint': 'teacher'},
        options={f'model.kd_losses.{name}': value for name, value in losses.items()},
    )


study = dict(
    baseline='none',
    seeds=[0, 1],
    options={
        'optim_wrapper.type': 'Bf16OptimWrapper',
        'val_evaluator.iou_metrics': ['mIoU', 'mTrimapIoU', 'mJunctionIoU'],
        # Short, because there are many: half of the protocol of `scratch_kd.py`.
        'train_cfg.max_iters': 600,
        'train_cfg.val_interval': 600,
    },
    runs={
        'teacher': dict(
            config=f'{_SCRATCH}/fpn.r18.scratch.py',
            options={'train_cfg.max_iters': 2400, 'train_cfg.val_interval': 400},
            seeds=[0],
        ),
        'none': dict(config=f'{_SCRATCH}/segformer.b0.scratch.py'),
        'kl': _only(type='KLDivergenceLoss', temperature=4.0),
        'cwd': _only(type='ChannelWiseDivergence', temperature=4.0),
        # Flows between classes: the whole, its two parts, and a random split of equal ranks.
        'flow': _only(type='EdgeFlowLoss'),
        'flow-gradient': _only(type='HodgeFlowLoss', components=['gradient']),
        'flow-curl': _only(type='HodgeFlowLoss', components=['curl']),
        'flow-random': _only(type='RandomSplitFlowLoss', components=['curl']),
        # Frequencies of the logits: s = 0 is their MSE, s = 1 that of their differences.
        'mse': _only(type='SobolevLoss', exponent=0.0),
        'sobolev-1': _only(type='SobolevLoss', exponent=-1.0),
        'sobolev+1': _only(type='SobolevLoss', exponent=1.0),
        'junction': _only(type='JunctionLoss'),
        'direction': _only(type='EdgeDirectionLoss'),
        # Exponents between these, and controls of the losses that may do well.
        'sobolev-half': _only(type='SobolevLoss', exponent=-0.5),
        'sobolev+half': _only(type='SobolevLoss', exponent=0.5),
        'permuted-1': _only(type='PermutedSpectrumLoss', exponent=-1.0),
        'permuted+1': _only(type='PermutedSpectrumLoss', exponent=1.0),
        'cwd-other': _only(type='ChannelWiseDivergence', temperature=4.0, control='other_image'),
        'cwd-labels': _only(type='ChannelWiseDivergence', temperature=4.0, control='labels'),
    },
)
