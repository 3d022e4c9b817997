# Student with the losses that were best from scratch; with pretrained weights not yet measured.
_base_ = './segformer.b0.512x512.camvid.kd.py'
model = dict(
    kd_losses=dict(
        _delete_=True,
        # T = 1: T = 4 taught less than no teacher did (docs/distillation.md).
        kl_loss=dict(type='KLDivergenceLoss', temperature=1.0, loss_weight=1.0),
        # The published weight and temperature of Shu et al.; the largest gain of those tried.
        cwd_loss=dict(type='ChannelWiseDivergence', temperature=4.0, loss_weight=3.0),
    ),
)
work_dir = 'work_dirs/segformer_b0_camvid_student_kd_best'
