# Student with the losses that were best from scratch; with pretrained weights not yet measured.
_base_ = './segformer.b0.512x512.camvid.kd.py'
model = dict(
    kd_losses=dict(
        _delete_=True,
        # The published weight and temperature of Shu et al.; the largest gain of those tried.
        cwd_loss=dict(type='ChannelWiseDivergence', temperature=4.0, loss_weight=3.0),
        # Stages before their LayerNorm, after which there is nothing to transfer.
        at_loss=dict(type='AttentionTransferLoss', loss_weight=1.0),
        # No similarity preserving: under 1 % of the gradient at weight 1.
    ),
)
work_dir = 'work_dirs/segformer_b0_camvid_student_kd_best'
