# The best of the settings tried from scratch (docs/results.md has all of them, with figures).
_base_ = './segformer.b0.scratch.kd.first.py'
model = dict(
    kd_losses=dict(
        _delete_=True,
        # At the paper's weight and temperature. Alone it gave most of the gain. KL alone gave one
        # point, and KL next to it nothing more.
        cwd_loss=dict(type='ChannelWiseDivergence', temperature=4.0, loss_weight=3.0),
        # A sixth of the gradient, at right angles to that of the labels.
        at_loss=dict(type='AttentionTransferLoss', loss_weight=1.0),
    )
)
work_dir = 'work_dirs/segformer_b0_scratch_kd_best'
