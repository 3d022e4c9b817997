# Student taught by its own moving average, which needs no teacher's file.
_base_ = './segformer.b0.512x512.camvid.py'
model = dict(
    type='KDEncoderDecoder',
    teacher=dict(type='EMATeacher', momentum=0.999),
    kd_losses=dict(
        kl_loss=dict(
            type='KLDivergenceLoss',
            temperature=1.0,
            # At first the average has learned nothing.
            loss_weight=dict(type='LinearWarmup', value=1.0, end=4000),
        ),
    ),
)
work_dir = 'work_dirs/segformer_b0_camvid_student_kd_ema'
